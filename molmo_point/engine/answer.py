"""Tokens to an answer: text pieces as they come, points as soon as they are complete, and the `Pointing` at the end."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

from molmo_point.engine.detokenize import Detokenizer
from molmo_point.engine.generate import Ending, Step
from molmo_point.engine.uncertainty import Trace
from molmo_point.markup import MarkupParser
from molmo_point.pointer import PointStream
from molmo_point.points import Point, Pointing, Timing
from molmo_point.preprocess.tokenizer import Tokenizer

Steps = Generator[Step, None, Ending]


@dataclass
class Effort:
    """What an answer has cost so far; becomes a `Timing`.

    Attributes:
        started: `time.perf_counter` at the call.
        base: Cost of the picture.
    """

    started: float
    base: Timing
    prompt_s: float = 0.0
    decode_s: float = 0.0
    tokens: int = 0
    passes: int = 0

    def watch(self, steps: Steps) -> Steps:
        """Pass steps through, charging the first pass to the prompt and the others to decoding."""
        while True:
            begin = time.perf_counter()
            try:
                step = next(steps)
            except StopIteration as end:
                ending: Ending = end.value
                return ending
            spent = time.perf_counter() - begin
            if self.passes == 0:
                self.prompt_s += spent
            else:
                self.decode_s += spent
            self.passes += 1
            self.tokens += len(step.tokens)
            yield step

    def timing(self) -> Timing:
        """Return the cost so far."""
        return self.base.model_copy(
            update={
                "prefill_s": self.base.prefill_s + self.prompt_s,
                "decode_s": self.decode_s,
                "total_s": time.perf_counter() - self.started,
                "new_tokens": self.tokens,
                "forward_passes": max(0, self.passes - 1),
            }
        )


def read_text(steps: Steps, stream: Detokenizer, stop: int) -> Generator[str, None, Ending]:
    """Yield pieces of text as the steps settle them; return why it ended. `stream` holds the whole text."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            piece = stream.finish()
            if piece:
                yield piece
            ending: Ending = end.value
            return ending
        piece = stream.push([token for token in step.tokens if token != stop])
        if piece:
            yield piece


def read_points(
    steps: Steps, tokenizer: Tokenizer, effort: Effort, trace: Trace, blank: Pointing, label: str
) -> PointStream:
    """Yield each point as soon as its numbers are closed; return the whole answer.

    Args:
        trace: Sees every step and says how sure the model is.
        blank: The answer's fields that do not depend on the text.
        label: Name of points that leave before their own label has been written.
    """
    parser = MarkupParser(label=label)
    stream = Detokenizer(tokenizer)
    pieces = read_text(_recorded(steps, trace), stream, tokenizer.special.end_of_text)

    def sure(point: Point, index: int) -> Point:
        point = trace.with_belief(point, parser.spans[index], parser.text, stream.spans)
        return point if point.index == index else point.model_copy(update={"index": index})

    told = 0
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            ending = end.value
            break
        for point in parser.feed(piece):
            yield sure(point, told)
            told += 1
    parsed = parser.finish(cut=ending is not Ending.STOP)
    return blank.with_(
        points=tuple(sure(point, index) for index, point in enumerate(parsed.points)),
        status=parsed.status,
        stated_count=parsed.stated_count,
        absent_probability=trace.absent_probability(),
        text=parser.text,
        timing=effort.timing(),
    )


def _recorded(steps: Steps, trace: Trace) -> Steps:
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            ending: Ending = end.value
            return ending
        trace.record(step)
        yield step
