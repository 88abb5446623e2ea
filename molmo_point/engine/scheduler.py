"""Continuous batching for a server's loop: questions join at any pass, and leave when answered, cancelled or out of time.

    scheduler = pointer.scheduler()
    scheduler.add("a", image, "mug")            # decodes and cuts the image, unless `pointer.prepare` did
    for output in scheduler.step(): ...         # one piece of work: points, pieces of text, results

A question goes through the stages of `policy.Stage`; a known image skips the first two. Not thread-safe. In float32 each answer
equals the answer to the question alone.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import cast

from molmo_point.engine.batch import BatchEntry, Outcome
from molmo_point.engine.encoded_image import AnyImage, EncodedImage, ImageInProgress
from molmo_point.engine.engine import Engine
from molmo_point.engine.failures import as_point_error
from molmo_point.engine.image_stages import ImageStages
from molmo_point.engine.pass_threads import PassThreads
from molmo_point.engine.policy import Policy, Stage, Waiting
from molmo_point.engine.prepared_image import PreparedImage
from molmo_point.engine.question import Question
from molmo_point.engine.request import PointRequest, TextRequest
from molmo_point.engine.view import LocalView
from molmo_point.errors import ModelFailed, UsageError
from molmo_point.pointer import Detail, Images, Kind, StepOutput, View
from molmo_point.pointer import PreparedImage as AnyPrepared
from molmo_point.points import Point, Pointing, Text, Timing


@dataclass(frozen=True, eq=False)
class _WaitsForImage:
    """A question whose image is not encoded yet; None instead of a question: the image is to be opened."""

    image: ImageInProgress
    question: Question | None


class Scheduler:
    """Answers many questions side by side. Made by `LocalPointer.scheduler`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = engine.make_batch_decoder(engine.options.max_batch)
        self._images = ImageStages(engine)
        self._policy = Policy(engine.options.vision_batch)
        self._threads = PassThreads(engine.model)
        self._waiting: dict[Hashable, _WaitsForImage] = {}
        self._questions: dict[Hashable, tuple[BatchEntry, PointRequest | TextRequest]] = {}
        # Views of images that were known when they were to be opened.
        self._opened: dict[Hashable, LocalView] = {}

    @property
    def free_rows(self) -> int:
        """Number of questions that can be added now: a row is kept for a question that waits for its image."""
        return self._decoder.free_rows - len(self._waiting)

    @property
    def has_work(self) -> bool:
        """Whether any question is unfinished."""
        return bool(self._questions or self._waiting or self._opened)

    def takes(self, image: AnyPrepared, *, ahead: bool = False) -> bool:
        """Return whether an image can be added without waiting behind more crops than the next batch holds."""
        if isinstance(image, PreparedImage) and not self._images.has(image):
            before = self._images.first_crops if ahead else self._images.crops
            return self._policy.takes_image(before)
        return True

    def add(
        self,
        key: Hashable,
        image: Images | AnyPrepared | View | None,
        query: str,
        *,
        kind: Kind = "point",
        timeout_s: float | None = None,
        max_new_tokens: int | None = None,
        detail: Detail | None = None,
        ahead: bool = False,
    ) -> None:
        """Add a question; needs a free row. No pass of the model is made (without an image: one over a single token).

        Args:
            key: The caller's name for it; not one of an unfinished question.
            image: An image, what `LocalPointer.prepare` made of one, or an opened `LocalView`; None for a free question without
                an image.
            kind: "point", "count", or "text" for a free question.
            max_new_tokens: Longest answer in tokens; the engine's own limit holds in any case.
            detail: Of an image that is not prepared yet; None = the engine's own.
            ahead: Its image goes before those that do not go ahead; each of them is overtaken once.

        Raises:
            ImageError, QueryError, UsageError, ModelFailed: As `LocalPointer.point`. The question is not added.
        """
        question = Question.now(query, kind, timeout_s, max_new_tokens)
        if image is None and kind == "text":
            self._decode(key, self._engine.no_image(), Timing(), question)
        elif isinstance(image, LocalView):
            self._decode(key, *image.encoded(), question)
        elif isinstance(image, View):
            raise UsageError(f"expected a view opened by this pointer, got {type(image).__name__}")
        else:
            # None from a camera or cv2.imread is no image to point in: `_prepared` refuses it.
            prepared = self._prepared(cast("Images | AnyPrepared", image), detail)
            self._add_image(key, prepared, question, ahead=ahead)

    def open(
        self,
        key: Hashable,
        image: Images | AnyPrepared,
        *,
        detail: Detail | None = None,
        ahead: bool = False,
    ) -> None:
        """Add an image to be opened: an output of a later step has the view. Needs a free row until then; otherwise as `add`."""
        self._add_image(key, self._prepared(image, detail), None, ahead=ahead)

    def cancel(self, key: Hashable) -> None:
        """Cancel a question and free its row. One that has left is no error."""
        self._opened.pop(key, None)
        known = self._questions.pop(key, None)
        if known is not None:
            self._decoder.cancel(known[0])
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return
        if all(other.image is not waiting.image for other in self._waiting.values()):
            self._images.discard(waiting.image)

    def step(self) -> list[StepOutput]:
        """Do one piece of work, the one that the policy chooses."""
        # Images of others are decoded and cut meanwhile, in threads that want the cores.
        crowded = bool(self._waiting) and len(self._questions) + len(self._waiting) > 1
        with self._threads.limited(alone=not crowded):
            return self._step()

    def _step(self) -> list[StepOutput]:
        outputs = [StepOutput(key, view=view) for key, view in self._opened.items()]
        self._opened.clear()
        outputs += self._expired()
        stage = self._policy.next(self._work())
        if stage is Stage.DECODE:
            return outputs + self._pass()
        if stage is Stage.VISION:
            self._images.see()
        elif stage is Stage.PREFIX:
            self._images.read()
        return outputs + self._encoded()

    def _work(self) -> Waiting:
        return Waiting(self._images.crops, self._images.tokens, len(self._questions))

    def _prepared(self, image: Images | AnyPrepared, detail: Detail | None) -> AnyImage:
        if isinstance(image, (PreparedImage, EncodedImage)):
            return image
        return self._engine.prepare(cast("Images", image), detail)

    def _add_image(
        self, key: Hashable, prepared: AnyImage, question: Question | None, *, ahead: bool
    ) -> None:
        if isinstance(prepared, PreparedImage):
            if question is not None:
                self._decoder.check_length(self._engine.count_tokens(prepared, question))
            image = self._images.add(prepared, ahead=ahead)
            if isinstance(image, ImageInProgress):
                self._waiting[key] = _WaitsForImage(image, question)
                return
            prepared = image
        if question is None:
            self._opened[key] = LocalView(self._engine, prepared, Timing())
        else:
            self._decode(key, prepared, Timing(), question)

    def _decode(
        self, key: Hashable, image: EncodedImage, timing: Timing, question: Question
    ) -> None:
        """Let a question about an encoded image join the next pass."""
        request: PointRequest | TextRequest
        if question.kind == "text":
            request = self._engine.prepare_text(image, question)
        else:
            request = self._engine.prepare_points(image, timing, question)
        entry = BatchEntry(image.cache, request.state, key)
        self._decoder.add(entry)
        self._questions[key] = entry, request

    def _expired(self) -> list[StepOutput]:
        """Answer the questions whose deadline passed while they waited for their image."""
        now = time.perf_counter()
        outputs = []
        for key, waiting in list(self._waiting.items()):
            question = waiting.question
            if question is None or question.deadline is None or now < question.deadline:
                continue
            answer = self._engine.empty_answer(waiting.image.prepared, question)
            outputs.append(StepOutput(key, result=answer))
            self.cancel(key)
        return outputs

    def _encoded(self) -> list[StepOutput]:
        """Let the questions go on whose image is encoded or has failed."""
        outputs: list[StepOutput] = []
        for key, waiting in list(self._waiting.items()):
            image, question = waiting.image, waiting.question
            if image.failure is not None:
                outputs.append(StepOutput(key, error=image.failure))
            elif image.encoded is None:
                continue
            elif question is None:
                view = LocalView(self._engine, image.encoded, image.take_timing())
                outputs.append(StepOutput(key, view=view))
            else:
                try:
                    self._decode(key, image.encoded, image.take_timing(), question)
                except Exception as error:  # fails one question, not the others
                    outputs.append(StepOutput(key, error=as_point_error(error)))
            del self._waiting[key]
        return outputs

    def _pass(self) -> list[StepOutput]:
        """Make one pass for all questions whose images are encoded."""
        outputs: list[StepOutput] = []
        for entry, outcome in self._decoder.step():
            request = self._questions[entry.key][1]
            try:
                output = _output(entry.key, request, outcome)
            except Exception as error:  # fails one question, not the others
                output = StepOutput(entry.key, error=as_point_error(error))
            if output.last:
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
