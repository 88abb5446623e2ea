"""Score, covariance and absence probability from the probabilities of the written tokens, without an extra pass.

A coordinate is written digit by digit (or as a whole number and a decimal), and the model has a probability for every digit:
that is a distribution over positions. Its second moment about the written number is the variance; the probability mass near the
number is low where the model hesitated between two positions. The probability of "There are none." at the start is the absence
probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molmo_point.engine.generate import Step
from molmo_point.engine.image_calibration import AnyCalibration
from molmo_point.engine.point_grammar import PERCENT, PointGrammar
from molmo_point.engine.score_calibration import Floats, RawConfidence
from molmo_point.points import Point
from molmo_point.preprocess.tokenizer import Tokenizer

Span = tuple[int, int]
NEAR = 0.03
"""Positions closer than this, in 0-1 of the image's side, count as the same."""


@dataclass(frozen=True)
class AxisConfidence:
    """The model's distribution of one coordinate, in 0-1 of the image's side.

    Attributes:
        variance: Second moment about the written number.
        near: Probability mass within NEAR of the written number.
    """

    variance: float
    near: float


class NumberTokens:
    """The tokens of a tokenizer that are one to three digits, and the grammar of the numbers that they make."""

    def __init__(self, tokenizer: Tokenizer, grammar: PointGrammar = PERCENT) -> None:
        self.grammar = grammar
        table = tokenizer.number_tokens()
        self.ids = sorted(table)
        texts = [table[index] for index in self.ids]
        self.values = np.array([int(text) for text in texts], np.float64)
        self.lengths = np.array([len(text) for text in texts])
        self.none = tokenizer.encode(grammar.none)


class AbsencePath:
    """Follows the probability of "There are none." through the tokens of an answer.

    Args:
        tokens: Those of that text.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self._probabilities: list[float] = []
        self._written = 0
        self._followed = True

    def follow(self, row: Tensor, token: int) -> None:
        """Take the probabilities [V] of the next token, and the token."""
        if self._followed and self._written < len(self._tokens):
            expected = self._tokens[self._written]
            self._probabilities.append(float(row[expected]) if expected < len(row) else 0.0)
            self._followed = token == expected
        self._written += 1

    @property
    def probability(self) -> float | None:
        """Probability of the text as far as the answer follows it; None before the first token."""
        return math.prod(self._probabilities) if self._probabilities else None


@dataclass(frozen=True)
class TokenRecord:
    """One written token.

    Attributes:
        probability: Probability of this token.
        digits: For a number token, the probabilities of all number tokens at its position, in the order of `NumberTokens.ids`.
        hidden: Decoder output that chose the token [D]; kept for the first token and for the token behind each number.
    """

    probability: float
    digits: Floats | None
    hidden: Tensor | None


@dataclass(frozen=True)
class _Level:
    """One token of a number.

    Attributes:
        value: Its digits as a number; length: how many digits.
        digits: Probabilities of all number tokens at its position.
        unit: Place value of its last digit; prefix: value of the digits before it; both in units of the grammar.
        is_whole: Whether it is the whole part of the number in one token.
    """

    value: int
    length: int
    digits: Floats
    unit: float
    prefix: float
    is_whole: bool


class ConfidenceTracker:
    """Records the probabilities of one answer's tokens; gives points their score and covariance.

    Args:
        calibration: Of this checkpoint; None = raw scores and covariances.
    """

    def __init__(self, numbers: NumberTokens, calibration: AnyCalibration | None) -> None:
        self._numbers = numbers
        self._ids = torch.tensor(numbers.ids)
        self._number_ids = frozenset(numbers.ids)
        self._calibration = calibration
        self._tokens: list[TokenRecord] = []
        self._none = AbsencePath(numbers.none)

    def record(self, step: Step) -> None:
        """Record the tokens of one pass."""
        probabilities = step.logits.softmax(-1)
        chosen = torch.tensor(step.tokens, device=probabilities.device)[:, None]
        own = probabilities.gather(1, chosen)[:, 0].tolist()
        rows = zip(probabilities, step.hidden, step.tokens, own, strict=True)
        for row, hidden, token, probability in rows:
            self._none.follow(row, token)
            digits = None
            if token in self._number_ids:
                digits = row[self._ids.to(row.device)].cpu().double().numpy()
            kept = not self._tokens or self._tokens[-1].digits is not None
            self._tokens.append(TokenRecord(probability, digits, hidden if kept else None))

    def absent_probability(self) -> float | None:
        """Return the probability that nothing matches, 0-1: that of "There are none." as far as the answer follows it.

        None before the first token.
        """
        raw = self._none.probability
        if raw is None:
            return None
        return self._calibration.absent(raw) if self._calibration else min(1.0, raw)

    def with_confidence(
        self, point: Point, spans: tuple[Span, Span], text: str, token_spans: Sequence[Span]
    ) -> Point:
        """Return the point with score and covariance.

        Args:
            spans: Character spans of its x and its y in `text`.
            token_spans: Character span of each token so far.
        """
        x, y = (self._axis(text, span, token_spans) for span in spans)
        if x is None or y is None:
            return point
        opened = self._opening_probability(text, spans[0], token_spans)
        score = min(1.0, x.near * y.near * opened)
        xx, yy = x.variance, y.variance
        if self._calibration:
            score, (xx, yy) = self._calibration.point(
                RawConfidence(
                    score,
                    (xx, yy),
                    absent=self._none.probability or 0.0,
                    position=(point.x, point.y),
                    hidden_features=self.hidden_features(spans[1], token_spans),
                )
            )
        return point.model_copy(update={"score": score, "covariance": (xx, 0.0, yy)})

    def hidden_features(self, span: Span, token_spans: Sequence[Span]) -> Floats | None:
        """Return the decoder's output at the end of the question and at the end of a point, concatenated [2 D].

        Both are outputs after the last norm: the one that chose the answer's first token, and the one that chose the first token
        behind the point's y.

        Args:
            span, token_spans: As in `with_confidence`, for the y of a point.

        Returns:
            None where the number is not written in digits alone, or no token follows it yet.
        """
        following = tokens_of(span, token_spans)[-1] + 1
        if following == len(self._tokens):
            return None
        question, behind = self._tokens[0].hidden, self._tokens[following].hidden
        if question is None or behind is None:
            return None
        return torch.cat([question, behind]).cpu().double().numpy()

    def _opening_probability(self, text: str, span: Span, token_spans: Sequence[Span]) -> float:
        """Probability of the tokens before the number that say that a (further) point follows at all."""
        start = self._numbers.grammar.decision(text, span[0])
        indices = tokens_of((start, span[0]), token_spans)
        return math.prod(self._tokens[index].probability for index in indices)

    def _axis(self, text: str, span: Span, token_spans: Sequence[Span]) -> AxisConfidence | None:
        """Return the distribution of one coordinate; None where its tokens are not plain digits."""
        indices = tokens_of(span, token_spans)
        pieces = [
            (text[slice(*token_spans[index])], self._tokens[index].digits) for index in indices
        ]
        written = text[slice(*span)]
        last = 1.0
        if written == "1000":
            # Thousandths have three digits but for the far edge: "100" until a "0" more is written.
            last = self._tokens[indices[-1]].probability
            written, pieces = written[:-1], pieces[:-1]
        levels = self._levels(written, pieces)
        return None if levels is None else self._moments(levels, float(text[slice(*span)]), last)

    def _levels(
        self, written: str, pieces: Sequence[tuple[str, Floats | None]]
    ) -> list[_Level] | None:
        """Return the tokens of a number with their place values, coarse to fine; None where a token is no digits or point."""
        whole, _, _ = written.partition(".")
        levels: list[_Level] = []
        read, prefix = 0, 0.0
        for piece, digits in pieces:
            if piece == ".":
                read += 1
                continue
            if digits is None or not piece.isdigit():
                return None
            left = len(whole) - read - len(piece)
            unit = 10.0**left if left >= 0 else 10.0 ** (left + 1)
            is_whole = not levels and not left and self._numbers.grammar.full_scale == 100
            levels.append(_Level(int(piece), len(piece), digits, unit, prefix, is_whole))
            prefix += int(piece) * unit
            read += len(piece)
        return levels if levels and read == len(written) else None

    def _moments(self, levels: Sequence[_Level], written: float, last: float) -> AxisConfidence:
        """Combine the levels from fine to coarse; a digit that was not written counts as spread evenly over its interval.

        Args:
            last: Probability that the levels' number became `written`, where they differ.
        """
        numbers, full = self._numbers, self._numbers.grammar.full_scale
        second, near = levels[-1].unit ** 2 / 12 + (1 - last) * (0.9 * full) ** 2, last
        for level in reversed(levels):
            fits = numbers.values <= 100 if level.is_whole else numbers.lengths == level.length
            weights = np.where(fits, level.digits, 0.0)
            weights = weights / weights.sum()
            own = fits & (numbers.values == level.value)
            offset = level.prefix + (numbers.values + 0.5) * level.unit - written
            spread = offset**2 + level.unit**2 / 12
            second = float((weights * np.where(own, second, spread)).sum())
            near = float(
                (weights * np.where(own, near, share_near(offset, level.unit, full))).sum()
            )
        return AxisConfidence(variance=second / full**2, near=min(1.0, near))


def share_near(offset: Floats, width: float | Floats, full: float) -> Floats:
    """Return the share 0-1 of intervals of that width around `offset` that lies within NEAR of zero; `full` is the side."""
    low = np.maximum(offset - width / 2, -full * NEAR)
    high = np.minimum(offset + width / 2, full * NEAR)
    share: Floats = np.clip(high - low, 0, None) / width
    return share


def tokens_of(span: Span, token_spans: Sequence[Span]) -> list[int]:
    """Return the indices of the tokens that overlap a span. Searches from the end, where new points are."""
    found: list[int] = []
    for index in range(len(token_spans) - 1, -1, -1):
        start, end = token_spans[index]
        if end <= span[0] and start < span[0]:
            break
        if start < span[1] and end > span[0]:
            found.append(index)
    return found[::-1]
