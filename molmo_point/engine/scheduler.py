"""A server's loop over one decoder: questions join while others are being answered, and leave when they are answered, withdrawn
or out of time.

    scheduler = pointer.schedule()
    scheduler.add("a", image, "mug")          # reads the picture now; its first pass is the next step
    for news in scheduler.step(): ...         # one pass for all: points, pieces of text, results

For one thread. Each answer is the one it would be alone.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass

from molmo_point.engine.answer import PointAnswer
from molmo_point.engine.batch import Job, Outcome
from molmo_point.engine.drafting import Kind
from molmo_point.engine.engine import Engine, PointRequest, TextRequest
from molmo_point.engine.failures import as_point_error
from molmo_point.engine.image_prefix import EncodedPicture
from molmo_point.errors import ModelFailed, PointError
from molmo_point.pointer import ImageLike
from molmo_point.points import Point, Pointing, Text, Timing


@dataclass(frozen=True, eq=False)
class News:
    """What a step brought for one question.

    Attributes:
        key: As given to `add`.
        points: That are complete now.
        piece: Of a text that is certain now.
        result: The whole answer, when it has ended.
        error: Why there is none: the question has left, the others go on.
    """

    key: Hashable
    points: tuple[Point, ...] = ()
    piece: str = ""
    result: Pointing | Text | None = None
    error: PointError | None = None


class Scheduler:
    """Answers many questions side by side. Made by `LocalPointer.schedule`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = engine.decoder(engine.options.max_batch)
        self._questions: dict[Hashable, tuple[Job, PointRequest | TextRequest]] = {}

    @property
    def room(self) -> int:
        """How many more questions may join now."""
        return self._decoder.room

    @property
    def busy(self) -> bool:
        """Whether there is a question at work."""
        return bool(self._questions)

    def add(
        self,
        key: Hashable,
        image: ImageLike | tuple[EncodedPicture, Timing] | None,
        query: str,
        *,
        kind: Kind = "point",
        timeout_s: float | None = None,
    ) -> None:
        """Let a question join; there must be `room`.

        Args:
            key: The caller's name for it; not one that is at work.
            image: A picture, or one that is read already and what that cost; None for a free question without one.
            kind: "point", "count", or "text" for a free question.

        Raises:
            ImageError, QueryError, ModelFailed: As `LocalPointer.point`; then it has not joined, and the others go on.
        """
        started = time.perf_counter()
        if image is None:
            picture, cost = self._engine.encoder.no_picture(), Timing()
        else:
            picture, cost = image if isinstance(image, tuple) else self._engine.encode(image)
        request: PointRequest | TextRequest
        if kind == "text":
            request = self._engine.ask_text(picture, query, started, timeout_s)
        else:
            request = self._engine.ask_points(picture, cost, query, kind, started, timeout_s)
        job = Job(picture.cache, request.decoding, key)
        self._decoder.add(job)
        self._questions[key] = job, request

    def drop(self, key: Hashable) -> None:
        """Withdraw a question: its place is free at once. One that is not at work is no error."""
        known = self._questions.pop(key, None)
        if known is not None:
            self._decoder.drop(known[0])

    def step(self) -> list[News]:
        """Make one pass for all questions at work."""
        news: list[News] = []
        for job, outcome in self._decoder.step():
            request = self._questions[job.key][1]
            try:
                heard = _news(job.key, request, outcome)
            except Exception as error:  # of one question: the others go on
                heard = News(job.key, error=as_point_error(error))
            if heard.error is not None or heard.result is not None:
                self.drop(job.key)
            news.append(heard)
        return news


def _news(key: Hashable, request: PointRequest | TextRequest, outcome: Outcome) -> News:
    if outcome is None:
        return _result(key, request)
    if isinstance(outcome, ModelFailed):
        return News(key, error=outcome)
    fresh = request.answer.take(outcome)
    return News(key, piece=fresh) if isinstance(fresh, str) else News(key, points=tuple(fresh))


def _result(key: Hashable, request: PointRequest | TextRequest) -> News:
    ending = request.decoding.ending
    assert ending is not None
    if isinstance(request.answer, PointAnswer):
        late, pointing = request.answer.finish(ending)
        return News(key, points=tuple(late), result=pointing)
    piece = request.answer.finish()
    return News(key, piece=piece, result=request.answer.whole(ending))
