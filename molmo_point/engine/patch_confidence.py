"""Score, covariance and absence of MolmoPoint's points, from the probabilities of the patches.

The probabilities of the patches are a distribution over the image, which may have several modes. Its second moment about the
chosen place is the covariance, the mass near that place the score; the mass of "no more points" before the first point says
that nothing matches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from molmo_point.engine.generate import Step
from molmo_point.engine.image_calibration import AnyCalibration
from molmo_point.engine.patch_choice import ChoiceIds
from molmo_point.engine.score_calibration import Floats, RawConfidence
from molmo_point.engine.token_choice import PatchChoice
from molmo_point.engine.uncertainty import AbsencePath, Span, share_near, tokens_of
from molmo_point.points import Point
from molmo_point.preprocess.patch_places import THIRD, PatchPlaces


class PatchConfidence:
    """Records one answer's choices; gives points their score and covariance.

    Args:
        none: Tokens of "There are none.".
        ids, places: Of the image; places is None where there is none.
        calibration: Of this checkpoint; None = raw scores and covariances.
    """

    def __init__(
        self,
        none: Sequence[int],
        ids: ChoiceIds,
        places: PatchPlaces | None,
        calibration: AnyCalibration | None,
    ) -> None:
        self._none = AbsencePath(none)
        self._ids, self._places = ids, places
        self._calibration = calibration
        self._tokens: list[int] = []
        self._probabilities: list[float] = []
        self._choices: dict[int, PatchChoice] = {}
        self._first: int | None = None
        """Index of the first token that chose a patch."""
        self._hidden: dict[int, Tensor] = {}
        """Hidden states of the first token and of those behind locations."""

    def record(self, step: Step) -> None:
        """Record the tokens of one pass."""
        probabilities = step.logits.softmax(-1)
        for index, token in enumerate(step.tokens):
            place = len(self._tokens)
            self._none.follow(probabilities[index], token)
            behind = place and self._ids.location <= self._tokens[-1] < self._ids.end
            if not place or behind:
                self._hidden[place] = step.hidden[index]
            choice = step.patches.get(index)
            if choice is None:
                self._probabilities.append(float(probabilities[index, token]))
            else:
                self._choices[place] = choice
                self._probabilities.append(choice.pointed)
                if self._first is None:
                    self._first = place
            self._tokens.append(token)

    def absent_probability(self) -> float | None:
        """Return the probability that nothing matches, 0-1: that of "There are none.", or of no point after all."""
        raw = self._raw_absence()
        if raw is None:
            return None
        return self._calibration.absent(raw) if self._calibration else min(1.0, raw)

    def _raw_absence(self) -> float | None:
        none = self._none.probability
        if none is None or self._first is None:
            return none
        return none + (1 - none) * float(self._choices[self._first].probabilities[-1])

    def with_confidence(
        self, point: Point, spans: tuple[Span, Span], text: str, token_spans: Sequence[Span]
    ) -> Point:
        """Return the point with score and covariance; arguments as of `ConfidenceTracker.with_confidence`.

        A point whose choices the model has spelled out as plain words has neither.
        """
        first = tokens_of(spans[0], token_spans)[0]
        if self._places is None or not all(first + step in self._choices for step in range(3)):
            return point
        start = 0 if first == self._first else first
        opened = math.prod(self._probabilities[start : first + 1])
        near, (xx, xy, yy) = self._moments(first, point)
        score = min(1.0, opened * near)
        if self._calibration:
            raw = RawConfidence(
                score,
                (xx, yy),
                absent=self._raw_absence() or 0.0,
                position=(point.x, point.y),
                hidden_features=self.hidden_features(spans[1], token_spans),
            )
            correlation = xy / math.sqrt(xx * yy)
            score, (xx, yy) = self._calibration.point(raw)
            xy = correlation * math.sqrt(xx * yy)
        return point.model_copy(update={"score": score, "covariance": (xx, xy, yy)})

    def hidden_features(self, span: Span, token_spans: Sequence[Span]) -> Floats | None:
        """Return the decoder's output at the end of the question and behind a point [2 D]; see `ConfidenceTracker`."""
        behind = self._hidden.get(tokens_of(span, token_spans)[-1] + 1)
        if behind is None:
            return None
        return torch.cat([self._hidden[0], behind]).float().cpu().double().numpy()

    def _moments(self, first: int, point: Point) -> tuple[float, tuple[float, float, float]]:
        """Return the mass near a point (0-1), and the second moments (xx, xy, yy) of the mass in its image about it.

        The mass of a patch is spread evenly over the patches of its window, but for the chosen one, of which the parts are known.
        """
        assert self._places is not None
        ids = self._ids
        patch, part = self._tokens[first] - ids.patch, self._tokens[first + 1] - ids.part
        patches, parts, locations = (self._choices[first + n].probabilities for n in range(3))
        centres, sizes = self._places.centres, self._places.size
        inside = self._places.image >= 0
        share = inside / np.maximum(inside.sum(1, keepdims=True), 1)
        share[patch] = parts
        mass = share * patches[:-1, None]
        mass[patch, part] = 0.0
        here = self._places.image == point.image_index
        ninth = np.arange(9)
        offsets = (np.stack([ninth // 3, ninth % 3], axis=1) + 0.5) * THIRD
        size = sizes[patch, part]
        known = self._places.corner[patch, part] + offsets * size
        weights = np.concatenate([mass[here], patches[patch] * parts[part] * locations])
        offset = np.concatenate([centres[here], known]) - (point.x, point.y)
        extent = np.concatenate([sizes[here], np.tile(THIRD * size, (9, 1))])
        near = share_near(offset[:, 0], extent[:, 0], 1.0) * share_near(
            offset[:, 1], extent[:, 1], 1.0
        )
        moments = (weights[:, None] * offset).T @ offset / weights.sum()
        spread = (weights[:, None] * extent**2).sum(0) / (12 * weights.sum())
        xx, yy = (float(moments[axis, axis] + spread[axis]) for axis in (0, 1))
        return float((weights * near).sum()), (xx, float(moments[0, 1]), yy)
