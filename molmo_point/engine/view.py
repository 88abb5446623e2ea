"""`LocalView`: an opened image of a `LocalPointer`."""

from __future__ import annotations

from molmo_point.closing import Closing
from molmo_point.engine.encoded_image import EncodedImage
from molmo_point.engine.engine import Engine
from molmo_point.engine.question import Question
from molmo_point.errors import UsageError
from molmo_point.point_map import PointMap
from molmo_point.pointer import Kind, PointStream, TextStream, run_to_end
from molmo_point.points import Pointing, Text, Timing


class LocalView(Closing):
    """An image of a `LocalPointer`, encoded once, open for many questions."""

    def __init__(self, engine: Engine, image: EncodedImage, timing: Timing) -> None:
        self._engine = engine
        self._image: EncodedImage | None = image
        self._timing = timing

    @property
    def image_size(self) -> tuple[int, int]:
        return self._open().image_size

    def point(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        return run_to_end(self._stream(query, "point", timeout_s))

    def count(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        return run_to_end(self._stream(query, "count", timeout_s))

    def ask(self, question: str, *, timeout_s: float | None = None) -> Text:
        return Text.of(run_to_end(self.stream_text(question, timeout_s=timeout_s)))

    def stream(self, query: str, *, timeout_s: float | None = None) -> PointStream:
        return self._stream(query, "point", timeout_s)

    def stream_text(self, question: str, *, timeout_s: float | None = None) -> TextStream:
        asked = Question.now(question, "text", timeout_s)
        return self._engine.stream(self._engine.prepare_text(self._open(), asked))

    def point_map(self, query: str) -> PointMap:
        """Return how probable each place of the image is as the first point; see `LocalPointer.point_map`."""
        return self._engine.point_map(self._open(), query)

    def close(self) -> None:
        self._image = None

    def encoded(self) -> tuple[EncodedImage, Timing]:
        """Return the encoded image, and the time spent on it: the first question includes that time, the others do not."""
        image = self._open()
        timing, self._timing = self._timing, Timing()
        return image, timing

    def _stream(self, query: str, kind: Kind, timeout_s: float | None) -> PointStream:
        question = Question.now(query, kind, timeout_s)
        return self._engine.stream(self._engine.prepare_points(*self.encoded(), question))

    def _open(self) -> EncodedImage:
        if self._image is None:
            raise UsageError("this view is closed: open the image again")
        return self._image
