"""What may follow an answer in Molmo 2's point text; see `drafting`, which drafts it.

In `<points coords="1 1 224 806 2 364 973">red mug</points>` only the digits of coordinates carry information: blanks, ordinals
and the closing are forced, the query predicts the label, and whether another point follows is a choice between two continuations.
Points come sorted by x, then y: no number is smaller than the one before it, which fixes its first digits or leaves few of them.
"""

from __future__ import annotations

import re

from molmo_point.engine.drafting import remainders
from molmo_point.markup.writer import NONE_TEXT
from molmo_point.pointer import Kind

_COORDS = re.compile(r'<points(?: alt="[^"]*")? coords="([0-9][0-9. ;]*)$')
_CLOSED = re.compile(r'<points(?: alt="[^"]*")? coords="([0-9. ;]+)"([^"]*)$')
_OPENING = '<points coords="1 1 '
_DIGITS = 3
_TRIED = 2
"""First digits that are drafted of a number behind a smaller one."""


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
        *whole, last = coords[1].split(";")
        _, *words = last.split(" ")
        earlier = sum(map(_points_in, whole))
        return _inside(words, earlier, label, text, whole_numbers=whole_numbers) if words else []
    closed = _CLOSED.search(text)
    if closed is not None:
        total = _total(text, sum(map(_points_in, closed[1].split(";"))))
        return remainders([f">{label}</points>{total}"], closed[2]) or (
            None if kind == "text" else remainders([total], closed[2].partition("</points>")[2])
        )
    last = text.rsplit("<points", 1)[1]
    return remainders([_OPENING], "<points" + last)


def _points_in(frame: str) -> int:
    """Return how many points the text of an image or frame has: its name, then three numbers each."""
    return frame.count(" ") // 3


def _inside(
    words: list[str], earlier: int, label: str, text: str, *, whole_numbers: bool
) -> list[str]:
    """Return what may follow numbers within coords.

    Args:
        words: Numbers of the last image or frame; the last of them may be unfinished.
        earlier: Points in the images or frames before it.
    """
    points, part = divmod(len(words) - 1, 3)
    last = words[-1]
    # Where a number is one token, its first digits are none.
    before = "" if whole_numbers or not points else words[3 * points - 2]
    if part == 0:
        return remainders(
            [f"{earlier + points + 1} {digit}" for digit in _next_digits("", before)], last
        )
    if len(last) < _DIGITS:
        if part == 2:
            same_x = before == words[-2]
            before = words[3 * points - 1] if before and same_x else ""
        return [digit for digit in _next_digits(last, before) if digit]
    if part == 1:
        return [" "]
    # Another point is likelier than the end.
    following = "" if whole_numbers else words[-2]
    further = [f" {earlier + points + 2} {digit}" for digit in _next_digits("", following)]
    return [*further, f'">{label}</points>{_total(text, earlier + points + 1)}']


def _next_digits(start: str, least: str) -> list[str]:
    """Return digits that may follow the start of a number that is not smaller than `least`, the likeliest first.

    [""] where too little is known of it.
    """
    if len(least) != _DIGITS or not least.startswith(start) or len(start) == _DIGITS:
        return [""]
    first = int(least[len(start)])
    # The next one is often near.
    return [str(digit) for digit in range(first, min(10, first + _TRIED))]


def _total(text: str, count: int) -> str:
    """Return what follows the tag in a sentence that counts."""
    before = text.partition("<points")[0]
    if before.startswith("Counting the "):
        return f" shows a total of {count}."
    return "." if before.startswith("There are ") else ""
