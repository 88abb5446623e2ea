"""Questions and their answers as tokens, with the weight of each token in the loss; and wrong answers.

Letters: L tokens of one question with its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_point.markup import format_points
from molmo_point.preprocess.prompt import format_prompt
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.letter_classes import letter_targets
from molmo_point.synthetic.scenes.questions import Question
from molmo_point.train.vocabulary import opening_tokens

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int32]]

NO_TARGET = -1
"""In `TargetSequence.targets`: nothing is learned from what follows this token."""

BEHIND = 3
"""From the token that a number begins after to its last one: whole part, point, digit."""


@dataclass(frozen=True, eq=False)
class TargetSequence:
    """One question and its answer as tokens.

    Attributes:
        ids: [L] int32, question and answer.
        targets: [L] int32, the id to predict after each token, or NO_TARGET.
        weights: [L] float32, weight of that prediction in the loss.
        values: [L] float32, where the next token is a whole number of a coordinate, the coordinate in percent; NaN elsewhere.
        looks: (position in `ids`, indices of things): where to look at that token; no things = none is there. First at the
            question's end for all that is asked for, then for every point where its x and its y begin. Of a negative: none.
        absent: Whether the answer is that there are none.
        asked: (start, end) in `ids` of the words that are asked for.
        copies: (position in `ids`, position of the word in the question that comes next in the label).
        name: First letters of the label that is asked for, empty where none is.
        negative: (position of the question's end, positions where x and y of its only point begin) of a negative, see
            `AnswerWriter.negative`.
    """

    ids: Ints
    targets: Ints
    weights: Floats
    values: Floats
    looks: tuple[tuple[int, tuple[int, ...]], ...]
    absent: bool
    asked: tuple[int, int]
    copies: tuple[tuple[int, int], ...]
    name: tuple[int, ...] = ()
    negative: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class AnswerWeights:
    """How much each kind of token counts in the loss."""

    first: float = 2.0
    whole: float = 2.0
    digit: float = 0.3
    next_point: float = 1.0
    other: float = 0.6


def written_order(points: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    """Return the order in which `format_points` writes points, as indices; `points` is [N, 2] in percent."""
    rounded = np.round(points, 1)
    return np.argsort(rounded[:, 0] * 10000 + rounded[:, 1], kind="stable")


class AnswerWriter:
    """Turns questions into tokens with their weights.

    Args:
        cut: Chance that an answer ends right after its coordinates: the label behind them is soon learned, and costs time.
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
        """Write one answer.

        Args:
            points: [things, 2] float64, every thing of the picture, in percent.
            cut_draw: Uniform 0-1 draw that decides whether this answer is cut.
        """
        chosen = points[list(question.targets)].reshape(-1, 2)
        order = written_order(chosen)
        things = [question.targets[index] for index in order]
        prompt = self._tokenizer.encode(format_prompt(question.prompt))
        answer = [*self._text(question, chosen), self._tokenizer.special.end_of_text]
        if things and cut_draw < self._cut and self._alt in answer:
            answer = answer[: answer.index(self._alt) + 1]
        asked = _find(prompt, self._tokenizer.encode(f" {question.query}"))
        name = letter_targets(question.label) if question.label else ()
        return self._weighted(prompt, answer, chosen[order], things, asked, name)

    def negative(self, question: Question, points: np.ndarray[Any, Any]) -> TargetSequence:
        """Begin a wrong answer, up to the end of its first point. Nothing of it is to be learned but that it is wrong.

        Args:
            points: [n, 2] in percent, as many as a wrong answer like this would have.
        """
        prompt = self._tokenizer.encode(format_prompt(question.prompt))
        wrong = self._text(question, points)
        x, y = [index for index, token in enumerate(wrong) if token in self._opening][:2]
        ids = np.array([*prompt, *wrong[: y + BEHIND + 1]], np.int32)
        nothing = np.full(len(ids), NO_TARGET, np.int32)
        return TargetSequence(
            ids,
            nothing,
            np.zeros(len(ids), np.float32),
            np.full(len(ids), np.nan, np.float32),
            looks=(),
            absent=not question.targets,
            asked=(0, len(prompt)),
            copies=(),
            negative=(len(prompt) - 1, len(prompt) + x, len(prompt) + y),
        )

    def _text(self, question: Question, points: np.ndarray[Any, Any]) -> list[int]:
        counting = question.mode == "count"
        text = format_points(points, question.query, counting=counting, scale=100.0)
        return self._tokenizer.encode(" " + text)

    def _weighted(
        self,
        prompt: list[int],
        answer: list[int],
        points: np.ndarray[Any, Any],
        things: list[int],
        asked: tuple[int, int],
        name: tuple[int, ...],
    ) -> TargetSequence:
        ids = np.array([*prompt, *answer], np.int32)
        start = len(prompt) - 1
        targets = np.full(len(ids), NO_TARGET, np.int32)
        targets[start:-1] = ids[start + 1 :]
        weights = np.where(targets == NO_TARGET, 0, self._weights.other).astype(np.float32)
        weights[start] = self._weights.first
        values = np.full(len(ids), np.nan, np.float32)
        looks: list[tuple[int, tuple[int, ...]]] = [(start, tuple(things))]
        openings = [i for i in range(start + 1, len(ids) - 1) if int(ids[i]) in self._opening]
        for number, at in enumerate(openings):
            point, axis = divmod(number, 2)
            values[at] = round(float(points[point, axis]), 1)
            weights[at] = self._weights.whole
            weights[at + 2] = self._weights.digit
            # After the digit it is decided whether there is another point.
            weights[at + BEHIND] = self._weights.next_point if axis else self._weights.other
            looks.append((at, (things[point],)))
        copies = [
            (at + k, asked[0] + k)
            for at in range(start + 1, len(ids))
            if ids[at] in (self._alt, self._inner)
            for k in range(min(asked[1] - asked[0], len(ids) - 1 - at))
        ]
        return TargetSequence(
            ids, targets, weights, values, tuple(looks), not things, asked, tuple(copies), name
        )


def _find(tokens: list[int], part: list[int]) -> tuple[int, int]:
    """Return (start, end) of the last occurrence of `part` in `tokens`; all of `tokens` where it is letter_targets otherwise."""
    for start in range(len(tokens) - len(part), -1, -1):
        if tokens[start : start + len(part)] == part:
            return start, start + len(part)
    return 0, len(tokens)
