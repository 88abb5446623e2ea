"""Continuous batching for a server's loop: questions join at any pass, and leave when answered, cancelled or out of time.

    scheduler = pointer.scheduler()
    scheduler.add("a", image, "mug")            # encodes the image now; the next step makes the first pass
    for output in scheduler.step(): ...         # one pass for all: points, pieces of text, results

Not thread-safe. In float32 each answer equals the answer to the question alone.
"""

from __future__ import annotations

from collections.abc import Hashable

from molmo_point.engine.batch import BatchEntry, Outcome
from molmo_point.engine.engine import Engine
from molmo_point.engine.failures import as_point_error
from molmo_point.engine.question import Question
from molmo_point.engine.request import PointRequest, TextRequest
from molmo_point.engine.view import LocalView
from molmo_point.errors import ModelFailed, UsageError
from molmo_point.pointer import Images, Kind, StepOutput, View
from molmo_point.points import Point, Pointing, Text, Timing


class Scheduler:
    """Answers many questions side by side. Made by `LocalPointer.scheduler`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = engine.make_batch_decoder(engine.options.max_batch)
        self._questions: dict[Hashable, tuple[BatchEntry, PointRequest | TextRequest]] = {}

    @property
    def free_rows(self) -> int:
        """Number of questions that can be added now."""
        return self._decoder.free_rows

    @property
    def has_work(self) -> bool:
        """Whether any question is unfinished."""
        return bool(self._questions)

    def add(
        self,
        key: Hashable,
        image: Images | View | None,
        query: str,
        *,
        kind: Kind = "point",
        timeout_s: float | None = None,
        max_new_tokens: int | None = None,
    ) -> None:
        """Add a question; needs a free row.

        Args:
            key: The caller's name for it; not one of an unfinished question.
            image: An image, or an opened `LocalView`; None for a free question without an image.
            kind: "point", "count", or "text" for a free question.
            max_new_tokens: Longest answer in tokens; the engine's own limit holds in any case.

        Raises:
            ImageError, QueryError, UsageError, ModelFailed: As `LocalPointer.point`. The question is not added.
        """
        question = Question.now(query, kind, timeout_s, max_new_tokens)
        if image is None:
            encoded, timing = self._engine.no_image(), Timing()
        elif isinstance(image, LocalView):
            encoded, timing = image.encoded()
        elif isinstance(image, View):
            raise UsageError(f"expected a view opened by this pointer, got {type(image).__name__}")
        else:
            encoded, timing = self._engine.encode(image)
        request: PointRequest | TextRequest
        if kind == "text":
            request = self._engine.prepare_text(encoded, question)
        else:
            request = self._engine.prepare_points(encoded, timing, question)
        entry = BatchEntry(encoded.cache, request.state, key)
        self._decoder.add(entry)
        self._questions[key] = entry, request

    def cancel(self, key: Hashable) -> None:
        """Cancel a question and free its row. One that has left is no error."""
        known = self._questions.pop(key, None)
        if known is not None:
            self._decoder.cancel(known[0])

    def step(self) -> list[StepOutput]:
        """Make one pass for all questions."""
        outputs: list[StepOutput] = []
        for entry, outcome in self._decoder.step():
            request = self._questions[entry.key][1]
            try:
                output = _output(entry.key, request, outcome)
            except Exception as error:  # fails one question, not the others
                output = StepOutput(entry.key, error=as_point_error(error))
            if output.error is not None or output.result is not None:
                self.cancel(entry.key)
            outputs.append(output)
        return outputs


def _output(key: Hashable, request: PointRequest | TextRequest, outcome: Outcome) -> StepOutput:
    if isinstance(outcome, ModelFailed):
        return StepOutput(key, error=outcome)
    result: Pointing | Text | None = None
    if outcome is None:
        assert request.state.finish_reason is not None
        pieces, result = request.answer.finish(request.state.finish_reason)
    else:
        pieces = request.answer.take(outcome)
    points = tuple(piece for piece in pieces if isinstance(piece, Point))
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    return StepOutput(key, points=points, piece=text, result=result)
