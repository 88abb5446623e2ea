"""Scores from log-probabilities: how likely the model held the digits that it wrote."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from molmo_point.points import Pointing
from molmo_point.vlm.reply import Token

Span = tuple[int, int]


def with_scores(pointing: Pointing, tokens: Sequence[Token], place: re.Pattern[str]) -> Pointing:
    """Return the pointing with a score for each point: the geometric mean of the probabilities of its coordinates' tokens.

    Such a score is not calibrated. Without log-probabilities, or where the text does not show which numbers are which point's
    (repeated points, tokens that are not the text), the scores stay None.

    Args:
        tokens: Of the whole text, in order.
        place: Matches one point in the text; its last two groups are its numbers.
    """
    text = pointing.text
    if not pointing.points or "".join(token.text for token in tokens) != text:
        return pointing
    spans = [_numbers(match) for match in place.finditer(text)]
    if len(spans) != pointing.count or pointing.duplicates:
        return pointing
    ends = _ends(tokens)
    points = tuple(
        point.model_copy(update={"score": _probability(tokens, ends, numbers)})
        for point, numbers in zip(pointing.points, spans, strict=True)
    )
    return pointing.replace(points=points)


def _numbers(match: re.Match[str]) -> tuple[Span, Span]:
    last = match.re.groups
    return match.span(last - 1), match.span(last)


def _ends(tokens: Sequence[Token]) -> list[int]:
    """Return where each token ends in the text."""
    ends, at = [], 0
    for token in tokens:
        at += len(token.text)
        ends.append(at)
    return ends


def _probability(tokens: Sequence[Token], ends: Sequence[int], spans: tuple[Span, Span]) -> float:
    """Return the geometric mean of the probabilities of the tokens that share a character with one of the spans."""
    used = [
        min(0.0, token.logprob)
        for token, end in zip(tokens, ends, strict=True)
        if any(end - len(token.text) < stop and end > start for start, stop in spans)
    ]
    return math.exp(sum(used) / len(used)) if used else 0.0
