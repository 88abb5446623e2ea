"""Roles of controls, and icons with their meanings."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

from molmo_point.errors import UsageError

ROLES: dict[str, tuple[tuple[str, str], ...]] = {
    "button": (("button", "buttons"),),
    "link": (("link", "links"),),
    "field": (
        ("text field", "text fields"),
        ("input", "inputs"),
        ("field", "fields"),
        ("text box", "text boxes"),
    ),
    "checkbox": (("checkbox", "checkboxes"), ("check box", "check boxes")),
    "radio": (("radio button", "radio buttons"), ("option", "options")),
    "tab": (("tab", "tabs"),),
    "menu item": (("menu item", "menu items"), ("menu entry", "menu entries")),
    "heading": (("heading", "headings"), ("title", "titles")),
    "dropdown": (("dropdown", "dropdowns"), ("select box", "select boxes")),
    "switch": (("toggle switch", "toggle switches"), ("toggle", "toggles")),
}
"""Role -> (singular, plural) pairs, the first one its name."""


@dataclass(frozen=True)
class Icon:
    """An icon.

    Attributes:
        meaning: Its key.
        glyphs: Characters of DejaVu Sans that depict it, on training pages.
        unseen: An emoji that depicts it, on evaluation pages only.
        words: Its names, the meaning first.
    """

    meaning: str
    glyphs: str
    unseen: str
    words: tuple[str, ...]

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """(singular, plural) pairs."""
        return tuple((f"{word} icon", f"{word} icons") for word in self.words)


@functools.cache
def icons() -> tuple[Icon, ...]:
    """Read the table of icons."""
    text = resources.files(__package__).joinpath("icons.tsv").read_text(encoding="utf-8")
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != 3:
                raise UsageError(
                    f"icons.tsv: expected glyphs, emoji and words between tabs, got {line!r}"
                )
            words = tuple(word.strip() for word in fields[2].split(","))
            found.append(Icon(words[0], fields[0], fields[1], words))
    return tuple(found)
