"""What may follow an answer in Molmo 2's point text; see `drafting`, which drafts it.

In `<points coords="1 1 224 806 2 364 973">red mug</points>` only the digits of coordinates carry information: blanks, ordinals
and the closing are forced, the query predicts the label, and whether another point follows is a choice between two continuations.
"""

from __future__ import annotations

import re

from molmo_point.engine.drafting import remainders
from molmo_point.markup.writer import NONE_TEXT
from molmo_point.pointer import Kind

_COORDS = re.compile(r'<points(?: alt="[^"]*")? coords="1 ([0-9 ]*)$')
_CLOSED = re.compile(r'<points(?: alt="[^"]*")? coords="1 ([0-9 ]+)"([^"]*)$')
_OPENING = '<points coords="1 1 '
_DIGITS = 3


def coords_continuations(
    text: str, kind: Kind, label: str, *, whole_numbers: bool = False
) -> list[str] | None:
    """Return the texts that may follow the answer so far; arguments and result as of `drafting.continuations`."""
    if "<points" not in text:
        counting = "Counting the " if kind == "count" else ""
        started = None if kind == "text" and "<" not in text else [counting + _OPENING, NONE_TEXT]
        return None if started is None else remainders(started, text)
    coords = _COORDS.search(text)
    if coords is not None:
        return _inside(coords[1].split(" "), label, text)
    closed = _CLOSED.search(text)
    if closed is not None:
        total = _total(text, (closed[1].count(" ") + 1) // 3)
        return remainders([f">{label}</points>{total}"], closed[2]) or (
            None if kind == "text" else remainders([total], closed[2].partition("</points>")[2])
        )
    last = text.rsplit("<points", 1)[1]
    return remainders([_OPENING], "<points" + last)


def _inside(words: list[str], label: str, text: str) -> list[str]:
    """Return what may follow numbers within coords; the last of them may be unfinished."""
    points, part = divmod(len(words) - 1, 3)
    last = words[-1]
    if part == 0:
        return remainders([f"{points + 1} "], last)
    if len(last) < _DIGITS:
        return []
    if part == 1:
        return [" "]
    # Another point is likelier than the end.
    return [f" {points + 2} ", f'">{label}</points>{_total(text, points + 1)}']


def _total(text: str, count: int) -> str:
    """Return what follows the tag in a sentence that counts."""
    before = text.partition("<points")[0]
    if before.startswith("Counting the "):
        return f" shows a total of {count}."
    return "." if before.startswith("There are ") else ""
