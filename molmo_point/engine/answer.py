"""Tokens to an answer: text pieces as they come, points as soon as they are complete, and the `Pointing` at the end."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

from molmo_point.engine.detokenize import TextStream
from molmo_point.engine.generate import Ending, Step
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


def read_text(steps: Steps, tokenizer: Tokenizer) -> Generator[str, None, tuple[str, Ending]]:
    """Yield pieces of text; return the whole text and why it ended."""
    stream = TextStream(tokenizer)
    stop = tokenizer.special.end_of_text
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            piece = stream.finish()
            if piece:
                yield piece
            return stream.text, end.value
        piece = stream.push([token for token in step.tokens if token != stop])
        if piece:
            yield piece


def read_points(
    steps: Steps, tokenizer: Tokenizer, effort: Effort, blank: Pointing, label: str
) -> PointStream:
    """Yield each point as soon as its numbers are closed; return the whole answer.

    Args:
        blank: The answer's fields that do not depend on the text.
        label: Name of points that leave before their own label has been written.
    """
    parser = MarkupParser(label=label)
    text = read_text(steps, tokenizer)
    while True:
        try:
            piece = next(text)
        except StopIteration as end:
            _, ending = end.value
            break
        yield from parser.feed(piece)
    parsed = parser.finish(cut=ending is not Ending.STOP)
    return blank.with_(
        points=_indexed(parsed.points),
        status=parsed.status,
        stated_count=parsed.stated_count,
        text=parser.text,
        timing=effort.timing(),
    )


def _indexed(points: tuple[Point, ...]) -> tuple[Point, ...]:
    return tuple(
        point if point.index == index else point.model_copy(update={"index": index})
        for index, point in enumerate(points)
    )
