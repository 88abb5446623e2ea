"""Style sheets that others wrote (`css/`, their licences beside them), and how they want to be addressed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

import numpy as np

SHARE = 0.5
"""How many of the pages that Chromium renders wear one of them."""

BARE = "bare"
"""A page without a style sheet looks as the browser has it: the oldest framework of all, and common on small tools' pages."""


@dataclass(frozen=True)
class Framework:
    """A style sheet.

    Attributes:
        name: Of its file, without ".css".
        base: Size of running text in root font sizes (rem).
        dark: Whether it has a dark scheme.
        submits: Whether its buttons may be `<input type=submit>`: in some their words are not to be seen then.
        classes: Part of a control ("button", "main", "field", "select", "tabs", "tab", "chosen", "menu", "entry", "tick", "bar")
            -> classes to choose from; a part that is missing is addressed by its element alone.
    """

    name: str
    base: float = 1.0
    dark: bool = False
    submits: bool = True
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @functools.cached_property
    def css(self) -> str:
        """The whole style sheet; nothing for BARE."""
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
"""For training, and for evaluation on pages that are like those of training."""

UNSEEN_FRAMEWORKS = (
    Framework(
        "pico",
        dark=True,
        classes={"button": ("secondary", "outline", "contrast", "secondary outline")},
    ),
)
"""For evaluation only."""


def draw_framework(rng: np.random.Generator, unseen: bool) -> Framework | None:
    """Draw a framework, or None: then the page has a style sheet of ours."""
    choices = UNSEEN_FRAMEWORKS if unseen else FRAMEWORKS
    return choices[int(rng.integers(len(choices)))] if rng.random() < SHARE else None
