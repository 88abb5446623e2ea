"""`LocalView`: one picture that stays open, and the streams in which questions about a picture are answered."""

from __future__ import annotations

import time
from collections.abc import Generator
from types import TracebackType
from typing import TypeVar

from molmo_point.engine.drafting import Kind
from molmo_point.engine.engine import Engine, PointRequest
from molmo_point.engine.image_prefix import EncodedPicture
from molmo_point.errors import UsageError
from molmo_point.pointer import PointStream, TextStream
from molmo_point.points import Pointing, Text, Timing

Result = TypeVar("Result")


class LocalView:
    """One picture of a `LocalPointer`, encoded once, open for many questions."""

    def __init__(self, engine: Engine, picture: EncodedPicture, cost: Timing) -> None:
        self._engine = engine
        self._picture: EncodedPicture | None = picture
        self._cost = cost

    @property
    def image_size(self) -> tuple[int, int]:
        return self._open().image_size

    def point(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        return drain(self._stream(query, "point", timeout_s))

    def count(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        return drain(self._stream(query, "count", timeout_s))

    def ask(self, question: str, *, timeout_s: float | None = None) -> Text:
        return Text.of(drain(self.stream_text(question, timeout_s=timeout_s)))

    def stream(self, query: str, *, timeout_s: float | None = None) -> PointStream:
        return self._stream(query, "point", timeout_s)

    def stream_text(self, question: str, *, timeout_s: float | None = None) -> TextStream:
        return text_of(self._engine, self._open(), question, time.perf_counter(), timeout_s)

    def close(self) -> None:
        self._picture = None

    def __enter__(self) -> LocalView:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _stream(self, query: str, kind: Kind, timeout_s: float | None) -> PointStream:
        # The first question is charged with the picture, the others cost only themselves.
        picture, cost = self.encoded()
        return points_of(self._engine, picture, cost, query, kind, time.perf_counter(), timeout_s)

    def encoded(self) -> tuple[EncodedPicture, Timing]:
        """Return the picture as it was read, and what that cost if no question was charged with it yet."""
        picture = self._open()
        cost, self._cost = self._cost, Timing()
        return picture, cost

    def _open(self) -> EncodedPicture:
        if self._picture is None:
            raise UsageError("this view is closed: open the picture again")
        return self._picture


def points_of(
    engine: Engine,
    picture: EncodedPicture,
    cost: Timing,
    query: str,
    kind: Kind,
    started: float,
    timeout_s: float | None,
) -> PointStream:
    return written(engine, engine.ask_points(picture, cost, query, kind, started, timeout_s))


def written(engine: Engine, request: PointRequest) -> PointStream:
    for step in engine.run(request.picture, request.decoding):
        yield from request.answer.take(step)
    assert request.decoding.ending is not None
    late, pointing = request.answer.finish(request.decoding.ending)
    yield from late
    return pointing


def text_of(
    engine: Engine,
    picture: EncodedPicture,
    question: str,
    started: float,
    timeout_s: float | None,
) -> TextStream:
    request = engine.ask_text(picture, question, started, timeout_s)
    answer = request.answer
    for step in engine.run(picture, request.decoding):
        piece = answer.take(step)
        if piece:
            yield piece
    rest = answer.finish()
    if rest:
        yield rest
    return answer.whole(request.decoding.ending)


def drain(stream: Generator[object, None, Result]) -> Result:
    """Run a stream to its end and return what it returns."""
    while True:
        try:
            next(stream)
        except StopIteration as end:
            result: Result = end.value
            return result
