"""Tokens to an answer: text as it comes, points as soon as they are complete, and the whole at the end.

Steps are pushed in, by whoever drives the decoder: one answer alone, or a batch of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from molmo_point.engine.detokenize import Detokenizer
from molmo_point.engine.generate import Ending, Step
from molmo_point.engine.score_calibration import Floats
from molmo_point.engine.uncertainty import Trace
from molmo_point.markup import MarkupParser
from molmo_point.points import FinishReason, Point, Pointing, Text, Timing
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.repeats import Repeats


@dataclass
class Effort:
    """What an answer has cost so far; becomes a `Timing`.

    Attributes:
        started: `time.perf_counter` at the call.
        base: Cost of the picture.
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

    def charge(self, step: Step) -> None:
        """Charge the time since the last step to this one: the first one read the prompt, the others decoded."""
        now = time.perf_counter()
        spent, self._last = now - (self._last or now), now
        if self._passes == 0:
            self._prompt_s += spent
        else:
            self._decode_s += spent
        self._passes += 1
        self._tokens += len(step.tokens)

    def timing(self) -> Timing:
        """Return the cost so far."""
        return self.base.model_copy(
            update={
                "prefill_s": self.base.prefill_s + self._prompt_s,
                "decode_s": self._decode_s,
                "total_s": time.perf_counter() - self.started,
                "new_tokens": self._tokens,
                "forward_passes": max(0, self._passes - 1),
            }
        )


_REASONS = {
    Ending.STOP: FinishReason.STOP,
    Ending.LENGTH: FinishReason.LENGTH,
    Ending.DEADLINE: FinishReason.TIMEOUT,
}


class TextAnswer:
    """Free text.

    Attributes:
        detokenizer: Holds the text so far.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.detokenizer = Detokenizer(tokenizer)
        self._stop = tokenizer.special.end_of_text

    def take(self, step: Step) -> str:
        """Return the piece of text that a step makes certain."""
        return self.detokenizer.push([token for token in step.tokens if token != self._stop])

    def finish(self) -> str:
        """Return the last piece."""
        return self.detokenizer.finish()

    def whole(self, ending: Ending | None) -> Text:
        """Return the whole text and why it ended."""
        return Text(self.detokenizer.text.strip(), _REASONS[ending or Ending.STOP])


class PointAnswer:
    """Points.

    Args:
        trace: Says how sure the model is.
        repeats: Tells points that were written before.
        blank: The answer's fields that do not depend on the text.
        label: Name of points that leave before their own label has been written.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        effort: Effort,
        trace: Trace,
        repeats: Repeats,
        blank: Pointing,
        label: str,
    ) -> None:
        self._text = TextAnswer(tokenizer)
        self._parser = MarkupParser(label=label)
        self._effort = effort
        self._trace = trace
        self._repeats = repeats
        self._blank = blank
        effort.begin()

    def states(self) -> list[Floats | None]:
        """Return for each distinct point so far what the decoder had come to; see `Trace.state`."""
        spans = self._text.detokenizer.spans
        written = self._parser.spans
        return [self._trace.state(written[first][1], spans) for first in self._repeats.firsts]

    def take(self, step: Step) -> list[Point]:
        """Return the points that a step completes."""
        self._effort.charge(step)
        self._trace.record(step)
        return self._feed(self._text.take(step))

    def finish(self, ending: Ending) -> tuple[list[Point], Pointing]:
        """Return the points that only the end completes, and the whole answer."""
        late = self._feed(self._text.finish())
        parsed = self._parser.finish(cut=ending is not Ending.STOP)
        told = self._repeats.count
        written = [self._sure(point) for point in parsed.points]
        for point in written[len(self._repeats.groups) :]:
            self._repeats.is_new(point)
        points = self._repeats.distinct(written)
        pointing = self._blank.with_(
            points=points,
            status=parsed.status,
            stated_count=parsed.stated_count,
            duplicates=self._repeats.repeated,
            absent_probability=self._trace.absent_probability(),
            text=self._parser.text,
            timing=self._effort.timing(),
        )
        return [*late, *points[told:]], pointing

    def _feed(self, piece: str) -> list[Point]:
        fresh = []
        for written in self._parser.feed(piece):
            point = self._sure(written)
            if self._repeats.is_new(point):
                fresh.append(point.model_copy(update={"index": self._repeats.count - 1}))
        return fresh

    def _sure(self, point: Point) -> Point:
        """Return a point as the parser read it, with score and covariance."""
        spans = self._text.detokenizer.spans
        return self._trace.with_belief(
            point, self._parser.spans[point.index], self._parser.text, spans
        )
