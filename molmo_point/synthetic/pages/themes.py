"""Themes: colours, borders and fonts of buttons, fields and text, in families of common interface styles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rgb = tuple[int, int, int]

FAMILIES = ("plain", "bootstrap", "material", "classic", "flat", "soft")
"""For training and evaluation; UNSEEN_FAMILY is for evaluation only."""

UNSEEN_FAMILY = "heavy"
"""Thick black borders, hard shadows, loud colours: for evaluation only."""

FONTS = (
    "DejaVuSans",
    "LiberationSans",
    "LiberationSans",
    "LiberationSerif",
    "DejaVuSansMono",
    "LiberationMono",
)
UNSEEN_FONTS = ("DejaVuSerif", "DejaVuSansCondensed", "LiberationSansNarrow")
"""For evaluation only."""

FACES = {
    "DejaVuSans": ("", "-Bold", "-Oblique"),
    "DejaVuSansMono": ("", "-Bold", "-Oblique"),
    "DejaVuSansCondensed": ("", "-Bold", "-Oblique"),
    "DejaVuSerif": ("", "-Bold", "-Italic"),
    "LiberationSans": ("-Regular", "-Bold", "-Italic"),
    "LiberationSerif": ("-Regular", "-Bold", "-Italic"),
    "LiberationMono": ("-Regular", "-Bold", "-Italic"),
    "LiberationSansNarrow": ("-Regular", "-Bold", "-Italic"),
}
"""File names of the plain, bold and italic face."""

PRIMARIES: tuple[Rgb, ...] = (
    (13, 110, 253),
    (25, 118, 210),
    (40, 167, 69),
    (108, 92, 231),
    (220, 53, 69),
    (0, 150, 136),
    (255, 152, 0),
    (33, 37, 41),
    (233, 30, 99),
)


@dataclass(frozen=True)
class Theme:
    """The theme of one page.

    Attributes:
        family: One of FAMILIES, or UNSEEN_FAMILY.
        font: Name of a font, a key of FACES.
        size: Size of running text in pixels.
        ground, panel, ink, faint, line, primary, link: Colours.
        radius: Of corners, in pixels.
        border: Width of borders in pixels.
        filled: Whether ordinary buttons are filled with `primary`.
        raised: Whether buttons have bevels (classic) or hard shadows (heavy).
        capitals: Whether buttons are written in capitals.
        underlined: Whether links are.
        italic: Probability that a piece of text is italic.
        pad: Space inside a control, beside its text, in pixels.
        dark: Whether the page is light on dark.
    """

    family: str
    font: str
    size: int
    ground: Rgb
    panel: Rgb
    ink: Rgb
    faint: Rgb
    line: Rgb
    primary: Rgb
    link: Rgb
    radius: int
    border: int
    filled: bool
    raised: bool
    capitals: bool
    underlined: bool
    italic: float
    pad: int
    dark: bool


def draw_theme(
    rng: np.random.Generator, sizes: tuple[int, int], unseen: bool, family: str | None = None
) -> Theme:
    """Draw a theme.

    Args:
        sizes: Smallest and largest running text in pixels.
        unseen: Use a font and a family that training never uses.
        family: This one.
    """
    if family is None:
        family = UNSEEN_FAMILY if unseen else FAMILIES[int(rng.integers(len(FAMILIES)))]
    fonts = UNSEEN_FONTS if unseen else FONTS
    # Small text is the common case.
    size = round(sizes[0] * (sizes[1] / sizes[0]) ** float(rng.beta(1.1, 1.7)))
    dark = rng.random() < 0.25 and family != "classic"
    tint = rng.integers(-6, 7, 3)
    if dark:
        shade = int(rng.integers(12, 55))
        ground, panel, ink, faint, line = shade, shade + 14, 232, 150, shade + 55
    else:
        shade = int(rng.choice([255, 255, 250, 240, 225]))
        ground, panel, ink, faint, line = shade, 255, int(rng.integers(0, 70)), 120, 190
    if family == "classic":
        ground, panel, line = 212, 212, 120
    primary = PRIMARIES[int(rng.integers(len(PRIMARIES)))]
    radius = {
        "plain": 0,
        "bootstrap": 4,
        "material": 4,
        "classic": 0,
        "flat": 2,
        "soft": 12,
        "heavy": 0,
    }
    return Theme(
        family=family,
        font=fonts[int(rng.integers(len(fonts)))],
        size=size,
        ground=_tinted(ground, tint),
        panel=_tinted(panel, tint),
        ink=_tinted(ink, tint),
        faint=_tinted(faint, tint),
        line=_tinted(line, tint),
        primary=primary,
        link=(120, 170, 255) if dark else (primary if rng.random() < 0.3 else (0, 60, 200)),
        radius=radius[family],
        border=3 if family == "heavy" else 1,
        filled=family in ("bootstrap", "material", "flat", "heavy") or rng.random() < 0.4,
        raised=family in ("classic", "heavy"),
        capitals=family == "material" and rng.random() < 0.6,
        underlined=bool(rng.random() < 0.6),
        italic=0.5 if rng.random() < 0.12 else 0.04,
        pad=round(size * rng.uniform(0.4, 1.0)),
        dark=bool(dark),
    )


def is_light(colour: Rgb) -> bool:
    """Whether black has more contrast to a colour than white."""
    red, green, blue = colour
    return 0.3 * red + 0.59 * green + 0.11 * blue > 160


def _tinted(shade: int, tint: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Rgb:
    red, green, blue = (int(np.clip(shade + part, 0, 255)) for part in tint)
    return red, green, blue
