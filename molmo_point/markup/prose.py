"""What the words around the tags say: the total that a counting sentence states, and that there is nothing there."""

from __future__ import annotations

import re

_TOTAL = re.compile(r"\ba total of ([0-9]{1,6})(?![0-9]|[.,][0-9])")
_NONE = re.compile(
    r"none|there (?:are|is) none(?: in (?:the|this) (?:image|picture|photo))?"
    r"|(?:this|that|it) (?:isn't|is not) in (?:the|this) (?:image|picture|photo)"
    r"|(?:these|those|they) (?:aren't|are not) in (?:the|this) (?:image|picture|photo)"
)


def stated_total(prose: str, *, cut: bool) -> int | None:
    """Return N of the last 'a total of N', or None.

    Args:
        prose: The answer without its tags.
        cut: The text stops before its end, so a number at the very end may lack digits ('a total of 1' becomes 12).
    """
    totals = [
        int(match[1])
        for match in _TOTAL.finditer(prose)
        if not cut or prose[match.end() :] not in ("", ".", ",")
    ]
    return totals[-1] if totals else None


def says_none(prose: str) -> bool:
    """Whether the whole answer says 'There are none.' in one of the wordings that Molmo uses, and nothing else."""
    words = prose.strip().rstrip(".!").replace("’", "'").casefold()
    return _NONE.fullmatch(words) is not None
