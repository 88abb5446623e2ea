"""Questions with their answers as tokens, with the weight of each token in the loss; and hard negatives.

Letter in shapes: L tokens of one question with its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_point.markup import format_points
from molmo_point.preprocess.prompt import format_prompt
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.letter_classes import letter_targets
from molmo_point.synthetic.scenes.questions import Question
from molmo_point.train.vocabulary import opening_tokens

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

NO_TARGET = -1
"""In `TargetSequence.targets`: the token after this one is not learned."""

POINT_END = 3
"""Tokens from the one before a number to the number's last: whole part, decimal point, digit."""


@dataclass(frozen=True, eq=False)
class TargetSequence:
    """One question and its answer.

    Attributes:
        ids: [L] int32, question and answer.
        targets: [L] int32, the id to predict after each token, or NO_TARGET.
        weights: [L] float32, weight of that prediction in the loss.
        coordinates: [L] float32, the coordinate in percent where the next token is its whole part; NaN elsewhere.
        looks: (position in `ids`, indices of things): where attention is supervised, and at what. First the end of the question
            with all things asked for (none: absent), then for each point the tokens before x and before y. Empty for a
            negative.
        absent: Whether the answer is "There are none."
        query_span: (start, end) in `ids` of the query.
        copies: (position in `ids`, position of the word of the query that comes next in the answer's label).
        label_letters: First letters of the label asked for; empty where none is.
        negative: For a negative, see `AnswerWriter.negative`: positions of the end of the question and of the tokens before x
            and y.
    """

    ids: Ints
    targets: Ints
    weights: Floats
    coordinates: Floats
    looks: tuple[tuple[int, tuple[int, ...]], ...]
    absent: bool
    query_span: tuple[int, int]
    copies: tuple[tuple[int, int], ...]
    label_letters: tuple[int, ...] = ()
    negative: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class AnswerWeights:
    """Weight of each kind of token in the loss."""

    first: float = 2.0
    whole: float = 2.0
    digit: float = 0.3
    next_point: float = 1.0
    other: float = 0.6


def written_order(points: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    """Return the indices of points [N, 2], in percent, in the order in which `format_points` writes them."""
    rounded = np.round(points, 1)
    return np.argsort(rounded[:, 0] * 10000 + rounded[:, 1], kind="stable")


class AnswerWriter:
    """Turns questions into target sequences.

    Args:
        cut: Probability that an answer ends after its coordinates: the label behind them is learned early, and costs time.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, cut: float = 0.9, weights: AnswerWeights | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._cut = cut
        self._weights = weights or AnswerWeights()
        self._opening = frozenset(tokenizer.encode(text)[0] for text in opening_tokens())
        self._alt = tokenizer.encode('" alt="')[0]
        self._inner = tokenizer.encode('">')[0]

    def write(
        self, question: Question, points: np.ndarray[Any, Any], cut_draw: float
    ) -> TargetSequence:
        """Return the question with its right answer.

        Args:
            points: [things, 2] float64, every thing of the image, in percent.
            cut_draw: Uniform 0-1 draw that decides whether this answer is cut.
        """
        chosen = points[list(question.targets)].reshape(-1, 2)
        order = written_order(chosen)
        things = [question.targets[index] for index in order]
        prompt = self._tokenizer.encode(format_prompt(question.prompt))
        answer = [*self._text(question, chosen), self._tokenizer.special.end]
        if things and cut_draw < self._cut and self._alt in answer:
            answer = answer[: answer.index(self._alt) + 1]
        query_span = _find(prompt, self._tokenizer.encode(f" {question.query}"))
        start = len(prompt) - 1
        ids = np.array([*prompt, *answer], np.int32)
        targets = np.full(len(ids), NO_TARGET, np.int32)
        targets[start:-1] = ids[start + 1 :]
        weights, coordinates, openings = self._weighted(ids, targets, start, chosen[order])
        looks = [(at, (things[number // 2],)) for number, at in enumerate(openings)]
        return TargetSequence(
            ids,
            targets,
            weights,
            coordinates,
            looks=((start, tuple(things)), *looks),
            absent=not things,
            query_span=query_span,
            copies=self._copies(ids, start, query_span),
            label_letters=letter_targets(question.label) if question.label else (),
        )

    def negative(self, question: Question, points: np.ndarray[Any, Any]) -> TargetSequence:
        """Return the question with a wrong answer up to the end of its first point; only the confidence loss uses it.

        Args:
            points: [n, 2] in percent, as many as a wrong answer like this would have.
        """
        prompt = self._tokenizer.encode(format_prompt(question.prompt))
        wrong = self._text(question, points)
        x, y = [index for index, token in enumerate(wrong) if token in self._opening][:2]
        ids = np.array([*prompt, *wrong[: y + POINT_END + 1]], np.int32)
        return TargetSequence(
            ids,
            targets=np.full(len(ids), NO_TARGET, np.int32),
            weights=np.zeros(len(ids), np.float32),
            coordinates=np.full(len(ids), np.nan, np.float32),
            looks=(),
            absent=not question.targets,
            query_span=(0, len(prompt)),
            copies=(),
            negative=(len(prompt) - 1, len(prompt) + x, len(prompt) + y),
        )

    def _text(self, question: Question, points: np.ndarray[Any, Any]) -> list[int]:
        counting = question.mode == "count"
        text = format_points(points, question.query, counting=counting, scale=100.0)
        return self._tokenizer.encode(" " + text)

    def _weighted(
        self, ids: Ints, targets: Ints, start: int, points: np.ndarray[Any, Any]
    ) -> tuple[Floats, Floats, list[int]]:
        """Return weights and coordinates [L], and the positions before each coordinate, x and y in turn."""
        kinds = self._weights
        weights = np.where(targets == NO_TARGET, 0, kinds.other).astype(np.float32)
        weights[start] = kinds.first
        coordinates = np.full(len(ids), np.nan, np.float32)
        openings = [i for i in range(start + 1, len(ids) - 1) if int(ids[i]) in self._opening]
        for number, at in enumerate(openings):
            point, axis = divmod(number, 2)
            coordinates[at] = round(float(points[point, axis]), 1)
            weights[at] = kinds.whole
            weights[at + 2] = kinds.digit
            # After the digit of y the model decides whether there is another point.
            weights[at + POINT_END] = kinds.next_point if axis else kinds.other
        return weights, coordinates, openings

    def _copies(
        self, ids: Ints, start: int, query_span: tuple[int, int]
    ) -> tuple[tuple[int, int], ...]:
        """Return the positions in the answer's labels that copy the query, each with the word it copies."""
        first, end = query_span
        return tuple(
            (at + k, first + k)
            for at in range(start + 1, len(ids))
            if ids[at] in (self._alt, self._inner)
            for k in range(min(end - first, len(ids) - 1 - at))
        )


def _find(tokens: list[int], part: list[int]) -> tuple[int, int]:
    """Return (start, end) of the last occurrence of `part` in `tokens`; all of `tokens` where its tokenisation differs there."""
    for start in range(len(tokens) - len(part), -1, -1):
        if tokens[start : start + len(part)] == part:
            return start, start + len(part)
    return 0, len(tokens)
