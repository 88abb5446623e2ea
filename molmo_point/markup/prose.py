"""The prose around the tags: the stated total, and the sentence that nothing matches."""

from __future__ import annotations

import re
from collections.abc import Sequence

from molmo_point.markup.grammar import Span

_TOTAL = re.compile(r"\ba total of ([0-9]{1,6})(?![0-9]|[.,][0-9])")
_NONE = re.compile(
    r"none|there (?:are|is) none(?: in (?:the|this) (?:image|picture|photo))?"
    r"|(?:this|that|it) (?:isn't|is not) in (?:the|this) (?:image|picture|photo)"
    r"|(?:these|those|they) (?:aren't|are not) in (?:the|this) (?:image|picture|photo)"
)


def prose_between(text: str, elements: Sequence[Span]) -> str:
    """Return the text between elements, one line for each gap."""
    starts = [0, *(stop for _, stop in elements)]
    stops = [*(start for start, _ in elements), len(text)]
    return "\n".join(text[a:b] for a, b in zip(starts, stops, strict=True))


def stated_total(prose: str, *, cut: bool) -> int | None:
    """Return N of the last 'a total of N', or None.

    Args:
        prose: The answer without its tags.
        cut: The text was cut, so that a number at its end may lack digits ('a total of 1' of 'a total of 12').
    """
    totals = [
        int(match[1])
        for match in _TOTAL.finditer(prose)
        if not cut or prose[match.end() :] not in ("", ".", ",")
    ]
    return totals[-1] if totals else None


def says_none(prose: str) -> bool:
    """Whether the whole answer is 'There are none.' in one of Molmo's wordings."""
    words = prose.strip().rstrip(".!").replace("’", "'").casefold()
    return _NONE.fullmatch(words) is not None
