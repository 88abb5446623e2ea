"""The one interface: everything that can point is a `Pointer`.

A model in this process, a server on another machine, a fake in a test: same methods, same `Pointing`. The ROS node, the
click agent, the scorer and the server know only this file and `points`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Union, runtime_checkable

from molmo_point.errors import BatchError, PointError
from molmo_point.points import Point, Pointing

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

ImageLike = Union[
    str,
    "os.PathLike[str]",
    bytes,
    bytearray,
    memoryview,
    "PIL.Image.Image",
    "np.ndarray[Any, Any]",
]
"""A path, the bytes of a PNG or JPEG (or any file Pillow reads), a PIL image, or an (H, W, 3) uint8 RGB array."""

PointStream = Generator[Point, None, Pointing]
"""Yields each `Point` as soon as its text is complete; returns the whole `Pointing` (`pointing = yield from stream`)."""

TextStream = Generator[str, None, str]
"""Yields pieces of text as they are decoded; returns the whole text, a `Text` where the pointer knows why it ended."""


def all_or_error(results: Sequence[Pointing | PointError]) -> list[Pointing]:
    """Return the answers of `point_many`.

    Raises:
        BatchError: Some of the results are errors; it holds all results.
    """
    pointings = [result for result in results if isinstance(result, Pointing)]
    if len(pointings) < len(results):
        raise BatchError(results)
    return pointings


@runtime_checkable
class View(Protocol):
    """One picture, encoded once, open for many questions. Close it, or use it in a `with` block."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels, after EXIF rotation."""

    def point(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        """Point to every instance of `query`."""

    def count(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        """Count by pointing: `result.count` is the answer, `result.stated_count` what the model wrote."""

    def ask(self, question: str, *, timeout_s: float | None = None) -> str:
        """Answer a free question in text: a `Text`, whose `finish_reason` says whether it is whole."""

    def stream(self, query: str, *, timeout_s: float | None = None) -> PointStream:
        """Like `point`, but each point leaves as soon as it is complete."""

    def stream_text(self, question: str, *, timeout_s: float | None = None) -> TextStream:
        """Like `ask`, in pieces."""

    def close(self) -> None:
        """Free what the view holds. Closing twice is allowed."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class Pointer(Protocol):
    """Anything that turns a picture and a few words into points.

    `timeout_s` is a budget in seconds for the whole call; None means no limit for a local model and the client's default for a
    server. A model that runs out of it answers with what is complete, status `truncated`; a server that does not answer at all
    raises `TimedOut`. `stamp_ns` and `frame_id` come back in the `Pointing` untouched.

    Raises (all methods): `ImageError`, `QueryError`, `UsageError` (a timeout, stamp or frame that is none), `ModelFailed`, and
    from servers the subclasses of `ServiceError`.
    """

    @property
    def model(self) -> str:
        """Name of the model that answers."""

    def point(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        """Point to every instance of `query` in `image`."""

    def count(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        """Count by pointing: `result.count` is the answer."""

    def ask(self, image: ImageLike, question: str, *, timeout_s: float | None = None) -> str:
        """Answer a free question about `image` in text: a `Text`, whose `finish_reason` says whether it is whole."""

    def stream(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        """Like `point`, but each point leaves as soon as its markup is complete."""

    def stream_text(
        self, image: ImageLike, question: str, *, timeout_s: float | None = None
    ) -> TextStream:
        """Like `ask`, in pieces."""

    def open(self, image: ImageLike) -> View:
        """Encode `image` once and ask many times."""

    def point_many(
        self, requests: Iterable[tuple[ImageLike, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        """Point in many pictures at once; the answers are those of `point`, in the order of the requests.

        Raises:
            BatchError: Some requests failed (an unreadable picture, say). All others were answered; `results` holds them.
        """

    def close(self) -> None:
        """Free the model or the connection. Closing twice is allowed."""
