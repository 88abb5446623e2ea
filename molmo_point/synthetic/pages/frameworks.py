"""CSS frameworks (`css/`, with their licences), and the classes they expect."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

import numpy as np

SHARE = 0.5
"""Share of the pages rendered by Chromium that use one of them."""

BARE = "bare"
"""No style sheet: the browser's defaults, common on pages of small tools."""


@dataclass(frozen=True)
class Framework:
    """A style sheet.

    Attributes:
        name: Of its file, without ".css".
        base: Size of running text in root font sizes (rem).
        dark: Whether it has a dark scheme.
        submits: Whether its buttons may be `<input type=submit>`; some frameworks hide their text.
        classes: Part of a control ("button", "main", "field", "select", "tabs", "tab", "chosen", "menu", "entry", "tick", "bar")
            -> classes to choose from; a missing part has no class.
    """

    name: str
    base: float = 1.0
    dark: bool = False
    submits: bool = True
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @functools.cached_property
    def css(self) -> str:
        """The whole style sheet; empty for BARE."""
        if self.name == BARE:
            return ""
        file = resources.files(__package__) / "css" / f"{self.name}.css"
        return file.read_text(encoding="utf-8")


FRAMEWORKS = (
    Framework(
        "bootstrap",
        dark=True,
        classes={
            "button": (
                "btn btn-secondary",
                "btn btn-outline-secondary",
                "btn btn-light",
                "btn btn-outline-primary btn-sm",
                "btn btn-link",
                "btn btn-info",
                "btn btn-outline-danger",
            ),
            "main": ("btn btn-primary", "btn btn-success", "btn btn-dark", "btn btn-danger"),
            "field": ("form-control", "form-control form-control-sm"),
            "select": ("form-select", "form-select form-select-sm"),
            "tabs": ("nav nav-tabs", "nav nav-pills"),
            "tab": ("nav-link",),
            "chosen": ("nav-link active",),
            "menu": ("list-group", "list-group list-group-flush"),
            "entry": ("list-group-item", "list-group-item list-group-item-action"),
            "tick": ("form-check-input",),
            "bar": ("navbar bg-body-tertiary", "navbar bg-warning-subtle"),
        },
    ),
    Framework(
        "spectre",
        base=0.8,
        classes={
            "button": ("btn", "btn btn-sm", "btn btn-link", "btn btn-success"),
            "main": ("btn btn-primary", "btn btn-error"),
            "field": ("form-input", "form-input input-sm"),
            "select": ("form-select",),
            "tabs": ("tab", "tab tab-block"),
            "tab": ("tab-item",),
            "chosen": ("tab-item active",),
            "menu": ("menu",),
            "entry": ("menu-item",),
            "bar": ("navbar", "navbar bg-gray"),
        },
    ),
    Framework(
        "pure",
        classes={
            "button": ("pure-button", "pure-button pure-button-active"),
            "main": ("pure-button pure-button-primary",),
            "menu": ("pure-menu-list",),
            "entry": ("pure-menu-item pure-menu-link",),
        },
    ),
    Framework(
        "chota",
        base=1.6,
        submits=False,
        classes={
            "button": (
                "button",
                "button outline",
                "button clear",
                "button secondary",
                "button dark",
            ),
            "main": ("button primary", "button error", "button success"),
            "tabs": ("tabs",),
            "chosen": ("active",),
            "bar": ("nav",),
        },
    ),
    Framework(
        "milligram",
        base=1.6,
        classes={
            "button": ("button button-outline", "button button-clear"),
            "main": ("button",),
        },
    ),
    Framework("sakura", base=1.8),
    Framework("water", dark=True),
    Framework("simple", base=1.15, dark=True),
    Framework("mvp", dark=True),
    Framework(BARE),
)
"""For training, and for evaluation on similar pages."""

UNSEEN_FRAMEWORKS = (
    Framework(
        "pico",
        dark=True,
        classes={"button": ("secondary", "outline", "contrast", "secondary outline")},
    ),
)
"""For evaluation only."""


def draw_framework(rng: np.random.Generator, unseen: bool) -> Framework | None:
    """Draw a framework; None = our own style sheet."""
    choices = UNSEEN_FRAMEWORKS if unseen else FRAMEWORKS
    return choices[int(rng.integers(len(choices)))] if rng.random() < SHARE else None
