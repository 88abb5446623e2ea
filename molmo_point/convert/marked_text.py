"""Answers that name points within text: RoboPoint's tuples, point tags, and Perceptron's tags; to and from `Pointing`.

A number outside the image, or a tag that cannot be read, gives a pointing with status `malformed` whose `text` holds the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from xml.sax.saxutils import escape, unescape

from molmo_point.convert.reading import Findings, size_of
from molmo_point.errors import UsageError
from molmo_point.points import Pointing
from molmo_point.repeats import Repeats

SCALE = 1000
"""Tags count in thousandths of the image's side."""

NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)"
TUPLE = re.compile(rf"\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)")
"""`(x, y)`: what RoboPoint and RoboRefer write for each point."""
TAG = re.compile(
    rf"<(?:point|\|box_start\|)>\s*\(?\s*({NUMBER})\s*[\s,]\s*({NUMBER})\s*\)?\s*<(?:/point|\|box_end\|)>"
)
"""`<point>x y</point>` and `<|box_start|>(x,y)<|box_end|>`: what UI-TARS and its kin write."""
MENTIONED = re.compile(
    rf"<point(?P<attributes>(?:\s[^<>]*)?)>\s*\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)\s*</point>"
)
"""`<point mention="mug"> (x,y) </point>`: what Perceptron's Isaac writes."""

_MENTION = re.compile(r'\bmention="([^"]*)"')
_COLLECTION = re.compile(r"<collection(\s[^<>]*)?>|</collection>")
_EMPTY_LIST = re.compile(r"\[\s*\]")
_QUOTES = {'"': "&quot;"}


class _Found(NamedTuple):
    x: float
    y: float
    label: str


def to_robopoint(pointing: Pointing) -> str:
    """Return `[(0.460, 0.520), ...]`, as RoboPoint and RoboRefer answer: 0-1, three decimals; `[]` without points."""
    return f"[{', '.join(f'({point.x:.3f}, {point.y:.3f})' for point in pointing.points)}]"


def from_robopoint(answer: str, query: str, image_size: tuple[int, int]) -> Pointing:
    """Make a pointing of RoboPoint's or RoboRefer's answer; the inverse of `to_robopoint` to within half of 1/1000.

    Args:
        answer: Text with tuples `(x, y)` of 0-1. `[]` means that nothing matches.
        query: What was asked for; the label of every point.
        image_size: (width, height) of the image in pixels.

    Raises:
        UsageError: No tuple and no empty list in the answer, or none of them can be read.
    """
    found = [_Found(float(x), float(y), query) for x, y in TUPLE.findall(answer)]
    begun = re.findall(r"\(\s*(?:[-+.\d]|nan\b|inf)", answer, re.IGNORECASE)
    broken = len(begun) != len(found)
    return _pointing(answer, found, broken, query, image_size, "robopoint")


def to_point_tags(pointing: Pointing) -> str:
    """Return `<point>635 445</point>...`: integers 0-1000; `[]` without points."""
    tags = (
        f"<point>{round(point.x * SCALE)} {round(point.y * SCALE)}</point>"
        for point in pointing.points
    )
    return "".join(tags) or "[]"


def from_point_tags(
    answer: str,
    query: str,
    image_size: tuple[int, int],
    *,
    seen_size: tuple[int, int] | None = None,
) -> Pointing:
    """Make a pointing of `<point>x y</point>` or `<|box_start|>(x,y)<|box_end|>`; the inverse of `to_point_tags`.

    Args:
        seen_size: (width, height) in whose pixels the answer counts; None for 0-1000.

    The other Args and the Raises are those of `from_robopoint`.
    """
    width, height = (SCALE, SCALE) if seen_size is None else size_of(seen_size)
    found = [_Found(float(x) / width, float(y) / height, query) for x, y in TAG.findall(answer)]
    broken = answer.count("<point") + answer.count("<|box_start|>") != len(found)
    return _pointing(answer, found, broken, query, image_size, "point_tags")


def to_perceptron(pointing: Pointing) -> str:
    """Return `<point mention="mug"> (635,445) </point>`, as Perceptron's Isaac answers: integers 0-1000; `[]` without points."""
    tags = (
        f'<point mention="{escape(point.label or pointing.query, _QUOTES)}"> '
        f"({round(point.x * SCALE)},{round(point.y * SCALE)}) </point>"
        for point in pointing.points
    )
    return " ".join(tags) or "[]"


def from_perceptron(answer: str, query: str, image_size: tuple[int, int]) -> Pointing:
    """Make a pointing of Perceptron's answer; the inverse of `to_perceptron` to within half of 1/1000.

    Points of a `<collection mention="...">` without a mention of their own have the collection's.

    The Args and the Raises are those of `from_robopoint`.
    """
    found = list(_mentioned(answer, query))
    broken = len(re.findall(r"<point(?:\s|>)", answer)) != len(found)
    broken = broken or answer.count("<collection") != answer.count("</collection>")
    return _pointing(answer, found, broken, query, image_size, "perceptron")


def _mentioned(answer: str, query: str) -> Iterator[_Found]:
    """Yield points with the label that stands nearest around them."""
    collection = ""
    for part in re.finditer(rf"{MENTIONED.pattern}|{_COLLECTION.pattern}", answer):
        attributes, x, y, opened = part.groups()
        if x is None:
            collection = _mention(opened or "")
            continue
        yield _Found(
            float(x) / SCALE, float(y) / SCALE, _mention(attributes) or collection or query
        )


def _mention(attributes: str) -> str:
    found = _MENTION.search(attributes)
    return unescape(found.group(1), {"&quot;": '"'}) if found else ""


def _pointing(
    answer: str,
    found: Iterable[_Found],
    broken: bool,
    query: str,
    image_size: tuple[int, int],
    model: str,
) -> Pointing:
    """Return the points; `malformed` where one of them could not be read.

    Args:
        broken: Whether the text begins a point that the pattern did not match.
    """
    findings = Findings(repeats=Repeats(calibrated=False, labelled=True))
    findings.add_each(found, lambda each: each)
    if not findings.points and (broken or not _EMPTY_LIST.search(answer)):
        raise UsageError(f"expected points in {model}'s answer, got {answer.strip()[:80]!r}")
    if broken:
        findings.skip("text", "a point that is cut short or written in another way")
    text = answer if findings.incomplete else ""
    return findings.pointing(query, size_of(image_size), model, text)
