"""How sure the model is, read off the probabilities of the tokens it wrote: no extra pass.

A coordinate is written digit by digit (or as a whole number and a decimal), and at each digit the model spreads probability
over all of them: that is a distribution over places. Its second moment about the written number is the variance; the mass near
the number says whether the model hesitated between two places. The mass on "There are none." at the start says whether there
is anything at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molmo_point.engine.drafting import NONE
from molmo_point.engine.generate import Step
from molmo_point.engine.score_calibration import Calibration, Floats, Raw
from molmo_point.points import Point
from molmo_point.preprocess.tokenizer import Tokenizer

Span = tuple[int, int]
NEAR = 0.03
"""Within this share of the picture's side a place counts as the same one."""


@dataclass(frozen=True)
class AxisBelief:
    """What the model believes about one coordinate, in 0-1 of the side.

    Attributes:
        variance: Second moment about the written number.
        near: Probability mass within NEAR of it.
    """

    variance: float
    near: float


class NumberTokens:
    """The tokens that are digits, of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        table = tokenizer.number_tokens()
        self.ids = sorted(table)
        self.texts = [table[index] for index in self.ids]
        self.place = {index: place for place, index in enumerate(self.ids)}
        self.values = np.array([int(text) for text in self.texts], np.float64)
        self.lengths = np.array([len(text) for text in self.texts])
        self.none = tokenizer.encode(NONE)


@dataclass(frozen=True)
class TokenBelief:
    """One token that was written.

    Attributes:
        probability: Of this token, where it was written.
        digits: Where it is a number: the probabilities of all number tokens there, in the order of `NumberTokens.ids`.
        state: Of the first token, and of one behind a number: the decoder's output from which it was chosen [D].
    """

    probability: float
    digits: Floats | None
    state: Tensor | None


@dataclass(frozen=True)
class _Level:
    """One token of a number: its value, how many digits, the distribution there, the unit of its last digit (percent), what
    the digits before it add up to (percent), and whether it is the whole part of the number in one token."""

    value: int
    length: int
    digits: Floats
    place: float
    prefix: float
    is_whole: bool


class Trace:
    """Follows one answer's tokens, and turns what it saw into scores and covariances.

    Args:
        calibration: Measured for this checkpoint, or None: then the raw numbers are handed out.
    """

    def __init__(self, numbers: NumberTokens, calibration: Calibration | None) -> None:
        self._numbers = numbers
        self._ids = torch.tensor(numbers.ids)
        self._calibration = calibration
        self._tokens: list[TokenBelief] = []
        self._none: list[float] = []
        self._on_none_path = True

    def record(self, step: Step) -> None:
        """Take what one pass settled."""
        probabilities = step.logits.softmax(-1)
        chosen = torch.tensor(step.tokens, device=probabilities.device)[:, None]
        own = probabilities.gather(1, chosen)[:, 0].tolist()
        rows = zip(probabilities, step.hidden, step.tokens, own, strict=True)
        for row, hidden, token, probability in rows:
            self._follow_none(row, token)
            digits = None
            if token in self._numbers.place:
                digits = row[self._ids.to(row.device)].cpu().double().numpy()
            kept = not self._tokens or self._tokens[-1].digits is not None
            self._tokens.append(TokenBelief(probability, digits, hidden if kept else None))

    def _follow_none(self, row: Tensor, token: int) -> None:
        if self._on_none_path and len(self._tokens) < len(self._numbers.none):
            expected = self._numbers.none[len(self._tokens)]
            self._none.append(float(row[expected]) if expected < len(row) else 0.0)
            self._on_none_path = token == expected

    def absent_probability(self) -> float | None:
        """Return the probability of "There are none.", as far as the answer went along with it; None before the first token."""
        if not self._none:
            return None
        raw = self._raw_absence()
        return self._calibration.absent(raw) if self._calibration else min(1.0, raw)

    def _raw_absence(self) -> float:
        """Probability of "There are none." as the model has it; not yet fitted to what was measured."""
        return math.prod(self._none)

    def with_belief(
        self, point: Point, spans: tuple[Span, Span], text: str, token_spans: Sequence[Span]
    ) -> Point:
        """Return the point with score and covariance.

        Args:
            spans: Where its x and its y stand in `text`.
            token_spans: For each token so far the characters it stands for.
        """
        x, y = (self._axis(text, span, token_spans) for span in spans)
        if x is None or y is None:
            return point
        opened = self._opening_probability(spans[0], token_spans)
        score = min(1.0, x.near * y.near * opened)
        xx, yy = x.variance, y.variance
        if self._calibration:
            score, (xx, yy) = self._calibration.point(
                Raw(
                    score,
                    (xx, yy),
                    absent=self._raw_absence(),
                    place=(point.x, point.y),
                    state=self.state(spans[1], token_spans),
                )
            )
        return point.model_copy(update={"score": score, "covariance": (xx, 0.0, yy)})

    def state(self, span: Span, token_spans: Sequence[Span]) -> Floats | None:
        """Return what the decoder had come to at the end of the question and at the end of a point, one behind the other [2 D].

        Both are its output after the last norm: that from which the answer's first token was chosen, and that from which the
        first one behind the number was.

        Args:
            span, token_spans: As in `with_belief`, of the y of a point.

        Returns:
            None where the number is not written in digits alone, or nothing follows it yet.
        """
        following = _tokens_of(span, token_spans)[-1] + 1
        if following == len(self._tokens):
            return None
        question, behind = self._tokens[0].state, self._tokens[following].state
        if question is None or behind is None:
            return None
        return torch.cat([question, behind]).cpu().double().numpy()

    def _opening_probability(self, span: Span, token_spans: Sequence[Span]) -> float:
        """Probability of the token before the number: that there is a (further) point at all."""
        first = _tokens_of(span, token_spans)[0]
        return self._tokens[first - 1].probability if first else 1.0

    def _axis(self, text: str, span: Span, token_spans: Sequence[Span]) -> AxisBelief | None:
        """Read one coordinate's distribution; None where its tokens are not plain digits."""
        indices = _tokens_of(span, token_spans)
        pieces = [
            (text[slice(*token_spans[index])], self._tokens[index].digits) for index in indices
        ]
        levels = self._levels(text[slice(*span)], pieces)
        return None if levels is None else self._belief(levels, float(text[slice(*span)]))

    def _levels(
        self, written: str, pieces: Sequence[tuple[str, Floats | None]]
    ) -> list[_Level] | None:
        """Give each token of a number its place value, coarse to fine; None where a token is not digits or a point."""
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
            place = 10.0**left if left >= 0 else 10.0 ** (left + 1)
            levels.append(
                _Level(int(piece), len(piece), digits, place, prefix, not levels and not left)
            )
            prefix += int(piece) * place
            read += len(piece)
        return levels if levels and read == len(written) else None

    def _belief(self, levels: Sequence[_Level], written: float) -> AxisBelief:
        """Put the levels together from the finest to the coarsest: outside the written branch the rest is spread evenly."""
        numbers = self._numbers
        second, near = levels[-1].place ** 2 / 12, 1.0
        for level in reversed(levels):
            fits = numbers.values <= 100 if level.is_whole else numbers.lengths == level.length
            weights = np.where(fits, level.digits, 0.0)
            weights = weights / weights.sum()
            own = fits & (numbers.values == level.value)
            offset = level.prefix + (numbers.values + 0.5) * level.place - written
            spread = offset**2 + level.place**2 / 12
            second = float((weights * np.where(own, second, spread)).sum())
            near = float((weights * np.where(own, near, _share_near(offset, level.place))).sum())
        return AxisBelief(variance=second / 100.0**2, near=min(1.0, near))


def _share_near(offset: Floats, width: float) -> Floats:
    """Share of intervals of that width around `offset` (percent) that lies within NEAR of zero."""
    low = np.maximum(offset - width / 2, -100 * NEAR)
    high = np.minimum(offset + width / 2, 100 * NEAR)
    return np.clip(high - low, 0, None) / width


def _tokens_of(span: Span, token_spans: Sequence[Span]) -> list[int]:
    """Indices of the tokens that stand for characters of a span; searched from the end, where the news are."""
    found: list[int] = []
    for index in range(len(token_spans) - 1, -1, -1):
        start, end = token_spans[index]
        if end <= span[0] and start < span[0]:
            break
        if start < span[1] and end > span[0]:
            found.append(index)
    return found[::-1]
