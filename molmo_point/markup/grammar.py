"""Patterns of the markup's parts, and their numbers and labels.

Each part has a pattern of the whole and one of its start (`..._START`). Both have the same bounds, so that a text gives the same
points however it is cut into pieces.
"""

from __future__ import annotations

import re
from enum import Enum, auto

Span = tuple[int, int]
"""(start, end) of characters in the text."""


class Mode(Enum):
    """The part of the grammar that comes next."""

    START = auto()
    LINES = auto()
    PROSE = auto()
    TAG = auto()
    BODY = auto()


LINE = re.compile(r"[ \t]{0,16}\(([0-9]{1,3}\.[0-9]), ?([0-9]{1,3}\.[0-9])\)[ \t\r]{0,16}\n?")
LINE_START = re.compile(r"[0-9()., \t\r]{0,64}")
MARK = re.compile(r"Click\(|</?point")
MARK_LENGTH = len("</point")
MARK_STARTS = ("<point", "<points", "</point", "</points")
CLICK = re.compile(r"Click\(([0-9]{1,3}\.[0-9]), ?([0-9]{1,3}\.[0-9])\)")
CLICK_START = re.compile(r"Click\([0-9]")
CLICK_LENGTH = len("Click(100.0, 100.0)")
TAG = re.compile(r"<(/?)point(s?)(?=([^s]))")
ATTRIBUTE = re.compile(r"\s{1,64}[a-z]{0,3}[0-9]{0,6}=|>")
ATTRIBUTE_START = re.compile(r"\s{1,64}[a-z]{0,3}[0-9]{0,6}|")
PERCENT = re.compile(r'"\s{0,64}([0-9]{1,3}(?:\.[0-9]{1,64})?)"')
PERCENT_START = re.compile(r'"\s{0,64}(?:[0-9]{1,3}(?:\.[0-9]{0,64})?)?|')
THOUSANDTHS = re.compile(r"([0-9]{3}),([0-9]{3})(?=[\s>])")
THOUSANDTHS_START = re.compile(r"[0-9]{0,3}|[0-9]{3},[0-9]{0,3}")


def label_of(body: str, has_alt: bool) -> str | None:
    """Return the label in `label">inline` (in `inline` where there is no alt), or None where the text holds no label."""
    if not has_alt:
        return None if "<point" in body else body
    # Label and inline text are the same except in explanations; if they are, a label that holds `">` is not ambiguous.
    middle = (len(body) - 2) // 2
    if body[:middle] + '">' + body[:middle] == body:
        return body[:middle]
    alt, separator, _ = body.partition('">')
    return alt if separator and "<point" not in body else None


def fraction(match: re.Match[str], group: int, offset: int = 0) -> tuple[float, Span] | None:
    """Return a percentage as (0-1, its span), or None where it lies outside the image."""
    if float(match[group]) > 100.0:
        return None
    start, end = match.span(group)
    return percent_as_fraction(match[group]), (start + offset, end + offset)


def thousandths(match: re.Match[str]) -> tuple[tuple[float, Span], tuple[float, Span]]:
    """Return x and y of a THOUSANDTHS match, each as (0-1, its span)."""
    x, y = (percent_as_fraction(f"{match[axis][:2]}.{match[axis][2]}") for axis in (1, 2))
    return (x, match.span(1)), (y, match.span(2))


def percent_as_fraction(percent: str) -> float:
    """Return percent as 0-1, correctly rounded: "40.3" gives 0.403, and 40.3 / 100 does not. No other code converts percent."""
    return float(f"{percent}e-2")


def thousandths_as_fraction(thousandths: str) -> float:
    """Return thousandths, as Molmo 2 writes them, as 0-1, correctly rounded. No other code converts them."""
    return float(f"{thousandths}e-3")
