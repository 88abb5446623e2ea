"""Tokens to an answer: pieces of text, points as soon as they are complete, and the whole answer at the end.

The caller that runs the decoder passes in each step, for one answer or for a batch of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from molmo_point.counting.interval import CountCalibration
from molmo_point.engine.detokenize import Detokenizer
from molmo_point.engine.generate import Step
from molmo_point.engine.point_language import Confidence
from molmo_point.engine.score_calibration import Floats
from molmo_point.markup import PointParser
from molmo_point.pointer import Detail
from molmo_point.points import FinishReason, Point, Pointing, Text, Timing
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.repeats import Repeats

Piece_co = TypeVar("Piece_co", covariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Answer(Protocol[Piece_co, Result_co]):
    """An answer that grows with every step: of pieces (points or text), with a result at the end."""

    def take(self, step: Step) -> Sequence[Piece_co]:
        """Return the pieces that a step completes."""

    def finish(self, reason: FinishReason) -> tuple[Sequence[Piece_co], Result_co]:
        """Return the pieces that only the end completes, and the whole answer."""


@dataclass
class TimingRecorder:
    """Measures one answer; `timing` returns the result.

    Attributes:
        started: `time.perf_counter()` at the call, in seconds.
        base: What encoding the image took.
    """

    started: float
    base: Timing
    _last: float = 0.0
    _prompt_s: float = 0.0
    _decode_s: float = 0.0
    _tokens: int = 0
    _passes: int = 0

    def begin(self) -> None:
        """Start the clock of the first pass."""
        self._last = time.perf_counter()

    def record(self, step: Step) -> None:
        """Attribute the time since the last step to this one: the first step reads the prompt, all others decode."""
        now = time.perf_counter()
        spent, self._last = now - (self._last or now), now
        if self._passes == 0:
            self._prompt_s += spent
        else:
            self._decode_s += spent
        self._passes += 1
        self._tokens += len(step.tokens)

    def timing(self) -> Timing:
        """Return the times so far."""
        return self.base.model_copy(
            update={
                "prefill_s": self.base.prefill_s + self._prompt_s,
                "decode_s": self._decode_s,
                "total_s": time.perf_counter() - self.started,
                "new_tokens": self._tokens,
                "forward_passes": max(0, self._passes - 1),
            }
        )


class TextAnswer:
    """Free text.

    Attributes:
        detokenizer: Holds the text so far.

    Args:
        prompt_tokens: Length of the decoder's input, image tokens included.
        detail: How finely the image was looked at.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt_tokens: int = 0, detail: Detail = "auto"
    ) -> None:
        self.detokenizer = Detokenizer(tokenizer)
        self._prompt_tokens, self._detail = prompt_tokens, detail
        self._tokens = 0
        self._stop = tokenizer.special.end

    def take(self, step: Step) -> list[str]:
        """Return the text that a step completes: one piece, or none."""
        self._tokens += len(step.tokens)
        piece = self.detokenizer.push([token for token in step.tokens if token != self._stop])
        return [piece] if piece else []

    def finish(self, reason: FinishReason) -> tuple[list[str], Text]:
        """Return the last piece, if there is one, and the whole text without outer blanks."""
        rest = self.detokenizer.finish()
        timing = Timing(
            prompt_tokens=self._prompt_tokens, new_tokens=self._tokens, detail=self._detail
        )
        return [rest] if rest else [], Text(self.detokenizer.text.strip(), reason, timing)


class PointAnswer:
    """Points.

    Args:
        recorder: Measures the answer.
        confidence: Gives points their score and covariance.
        repeats: Recognizes points that were written before.
        blank: The answer's fields that do not depend on the text.
        parser: Of the grammar in which the model writes points.
        counts: Gives the count its interval; None for answers that do not count.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        recorder: TimingRecorder,
        confidence: Confidence,
        repeats: Repeats,
        blank: Pointing,
        parser: PointParser,
        counts: CountCalibration | None = None,
    ) -> None:
        self._text = TextAnswer(tokenizer)
        self._parser = parser
        self._recorder = recorder
        self._confidence = confidence
        self._repeats = repeats
        self._blank = blank
        self._counts = counts
        recorder.begin()

    def hidden_features(self) -> list[Floats | None]:
        """Return for each distinct point so far the decoder's output [2 D]; see `ConfidenceTracker.hidden_features`."""
        token_spans = self._text.detokenizer.spans
        written = self._parser.spans
        return [
            self._confidence.hidden_features(written[first][1], token_spans)
            for first in self._repeats.firsts
        ]

    def take(self, step: Step) -> list[Point]:
        """Return the points that a step completes."""
        self._recorder.record(step)
        self._confidence.record(step)
        return self._parse(self._text.take(step))

    def finish(self, reason: FinishReason) -> tuple[list[Point], Pointing]:
        """Return the points that only the end completes, and the whole answer."""
        last = self._parse(self._text.finish(reason)[0])
        parsed = self._parser.finish(cut=reason is not FinishReason.STOP)
        emitted = self._repeats.count
        written = [self._with_score(point) for point in parsed.points]
        for point in written[len(self._repeats.groups) :]:
            self._repeats.is_new(point)
        points = self._repeats.distinct(written)
        pointing = self._blank.replace(
            points=points,
            status=parsed.status,
            stated_count=parsed.stated_count,
            duplicates=self._repeats.repeated,
            absent_probability=self._confidence.absent_probability(),
            text=self._parser.text,
            timing=self._recorder.timing(),
        )
        if self._counts is not None:
            pointing = self._counts.with_interval(pointing)
        return [*last, *points[emitted:]], pointing

    def _parse(self, pieces: Sequence[str]) -> list[Point]:
        """Return the new points that pieces of text complete."""
        new = []
        for piece in pieces:
            for written in self._parser.feed(piece):
                point = self._with_score(written)
                if self._repeats.is_new(point):
                    new.append(point.model_copy(update={"index": self._repeats.count - 1}))
        return new

    def _with_score(self, point: Point) -> Point:
        """Return a point of the parser with score and covariance."""
        spans = self._parser.spans[point.index]
        token_spans = self._text.detokenizer.spans
        return self._confidence.with_confidence(point, spans, self._parser.text, token_spans)
