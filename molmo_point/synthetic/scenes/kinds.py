"""Kinds of things in scenes: names, plurals, synonyms and colours. The table is `kinds.tsv`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

from molmo_point.errors import UsageError
from molmo_point.synthetic.pages.controls import ROLES, icons
from molmo_point.synthetic.scenes.solids import SOLIDS

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 20),
    "yellow": (250, 215, 40),
    "green": (40, 160, 70),
    "blue": (40, 90, 220),
    "purple": (140, 60, 180),
    "pink": (245, 130, 180),
    "brown": (130, 80, 40),
    "black": (25, 25, 25),
    "white": (245, 245, 245),
    "gray": (130, 130, 130),
}
"""Colours of shapes, letters and digits, sRGB."""

COLOUR_SYNONYMS = {"grey": "gray", "violet": "purple"}

SHAPES = (
    "circle",
    "square",
    "triangle",
    "star",
    "heart",
    "diamond",
    "pentagon",
    "cross",
    "ring",
    "arrow",
    "oval",
)
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without I and O, which look like 1 and 0."""

DIGITS = "23456789"


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    Attributes:
        family: "emoji", "shape", "letter", "digit", "solid", or, on pages, "control" or "icon".
        glyph: What is drawn: an emoji, a name in SHAPES or SOLIDS, a character, or a name in ROLES.
        names: (singular, plural) pairs; the first one is its name, the others are synonyms.
        coloured: Whether it has a colour of COLOURS.
    """

    family: str
    glyph: str
    names: tuple[tuple[str, str], ...]
    coloured: bool

    @property
    def name(self) -> str:
        """Its first name."""
        return self.names[0][0]


def plural(name: str) -> str:
    """Return the regular English plural of a noun (its last word)."""
    if name.endswith(("s", "sh", "ch", "x", "z")):
        return name + "es"
    if name.endswith("y") and name[-2:-1] not in ("a", "e", "i", "o", "u"):
        return name[:-1] + "ies"
    return name + "s"


@functools.cache
def all_kinds() -> tuple[Kind, ...]:
    """Return every kind, in the order of class numbers: emoji, shapes, letters, digits, solids, then
    the kinds of pages.
    """
    text = resources.files(__package__).joinpath("kinds.tsv").read_text(encoding="utf-8")
    emoji = [_from_row(line) for line in text.splitlines() if line and not line.startswith("#")]
    shapes = [Kind("shape", name, ((name, plural(name)),), True) for name in SHAPES]
    letters = [
        Kind("letter", sign, ((f"letter {sign.lower()}", f"letters {sign.lower()}"),), True)
        for sign in LETTERS
    ]
    digits = [
        Kind(
            "digit",
            sign,
            ((f"number {sign}", f"numbers {sign}"), (f"digit {sign}", f"digits {sign}")),
            True,
        )
        for sign in DIGITS
    ]
    solids = [Kind("solid", name, ((name, plural(name)),), True) for name in SOLIDS]
    controls = [Kind("control", role, names, False) for role, names in ROLES.items()]
    signs = [Kind("icon", icon.glyphs, icon.names, False) for icon in icons()]
    return (*emoji, *shapes, *letters, *digits, *solids, *controls, *signs)


def kinds_named(names: tuple[str, ...]) -> tuple[Kind, ...]:
    """Return the kinds with these names.

    Raises:
        UsageError: A name that no kind has.
    """
    by_name = {kind.name: kind for kind in all_kinds()}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise UsageError(
            f"no kinds are named {', '.join(missing)}; there are: {', '.join(by_name)}"
        )
    return tuple(by_name[name] for name in names)


@functools.cache
def kind_of(family: str, glyph: str) -> Kind:
    """Return the kind of a family with this glyph."""
    for kind in all_kinds():
        if (kind.family, kind.glyph) == (family, glyph):
            return kind
    raise UsageError(f"no {family} is drawn as {glyph!r}")


def _from_row(line: str) -> Kind:
    fields = (line.rstrip("\n") + "\t\t\t").split("\t")
    glyph, name, many, synonyms = fields[:4]
    if not glyph or not name:
        raise UsageError(
            f"kinds.tsv: expected glyph, name, plural and synonyms between tabs, got {line!r}"
        )
    names = [(name, many or plural(name))]
    for synonym in filter(None, (part.strip() for part in synonyms.split(","))):
        one, _, several = synonym.partition("/")
        names.append((one, several or plural(one)))
    return Kind("emoji", glyph, tuple(names), False)
