"""An opened image for pointers that keep its pixels only."""

from __future__ import annotations

from molmo_point.closing import Closing
from molmo_point.images import Array
from molmo_point.pointer import Pointer, PointStream, TextStream
from molmo_point.points import Pointing


class ImageView(Closing):
    """An opened image, decoded once; every question is passed to `pointer` with its pixels."""

    def __init__(self, pointer: Pointer, image: Array) -> None:
        self._pointer = pointer
        self._image = image

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._image.shape[1], self._image.shape[0]

    def point(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        return self._pointer.point(self._image, query, timeout_s=timeout_s)

    def count(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        return self._pointer.count(self._image, query, timeout_s=timeout_s)

    def ask(self, question: str, *, timeout_s: float | None = None) -> str:
        return self._pointer.ask(self._image, question, timeout_s=timeout_s)

    def stream(self, query: str, *, timeout_s: float | None = None) -> PointStream:
        return self._pointer.stream(self._image, query, timeout_s=timeout_s)

    def stream_text(self, question: str, *, timeout_s: float | None = None) -> TextStream:
        return self._pointer.stream_text(self._image, question, timeout_s=timeout_s)

    def close(self) -> None:
        """Nothing to free."""
