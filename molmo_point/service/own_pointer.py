"""A user's own Pointer behind the server: what it lacks is made of what it has, and what it returns is checked.

`point` is enough: `count`, `stream`, `open` and `point_many` follow from it. `ask` and `stream_text` make each other. Several
images and videos reach an object that says `several_images = True`; for others they are refused.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from molmo_point.arguments import check_request, check_timeout
from molmo_point.errors import PointError, ServiceError, UsageError
from molmo_point.image_like import ImageLike
from molmo_point.image_view import ImageView
from molmo_point.images import load_image
from molmo_point.point_each import point_each
from molmo_point.pointer import (
    Images,
    PointingStream,
    PointStream,
    SchedulingPointer,
    TextStream,
    Video,
    View,
    all_or_error,
)
from molmo_point.points import Pointing

_OF_A_VIEW = ("image_size", "close")
"""What every view must have; a question that one lacks is an error when it is asked."""


def complete(pointer: object) -> SchedulingPointer | OwnPointer:
    """Return a Pointer with every method; the object itself where it has a scheduler.

    Raises:
        UsageError: It cannot even point.
    """
    if hasattr(pointer, "scheduler") and hasattr(pointer, "prepare"):
        return cast("SchedulingPointer", pointer)
    if not callable(getattr(pointer, "point", None)):
        raise UsageError(
            f"expected a Pointer: a method point(image, query, *, timeout_s, stamp_ns, frame_id), got {type(pointer).__name__}"
        )
    _check_takes_time(pointer)
    return OwnPointer(pointer)


def _check_takes_time(pointer: Any) -> None:
    """Refuse a `point` that could not be called once.

    Raises:
        UsageError: It does not take what the server gives it.
    """
    try:
        signature = inspect.signature(pointer.point)
    except (TypeError, ValueError):  # of a C extension
        return
    try:
        signature.bind(None, "mug", timeout_s=1.0)
    except TypeError as error:
        raise UsageError(
            f"expected a method point(image, query, *, timeout_s, stamp_ns, frame_id), got point{signature}: {error}"
        ) from None


class OwnPointer:
    """Wraps an object that can point.

    Args:
        pointer: Has `point`, and of the other methods of a `Pointer` any.
    """

    def __init__(self, pointer: object) -> None:
        self._pointer: Any = pointer

    @property
    def model(self) -> str:
        """Its own name, or that of its class."""
        return str(getattr(self._pointer, "model", None) or type(self._pointer).__name__)

    @property
    def batches(self) -> bool:
        """Whether `point_many` is worth gathering questions for: it is the object's own, and the object does not deny it."""
        own = self._own("point_many") is not None
        return own and bool(getattr(self._pointer, "batches", True))

    @property
    def concurrency(self) -> int:
        """Number of questions that the object answers at once, each in a thread of its own; 1 unless it says otherwise."""
        given = getattr(self._pointer, "concurrency", 1)
        try:
            return max(1, int(given))
        except (TypeError, ValueError):
            raise UsageError(
                f"expected {self.model}.concurrency as a whole number, got {given!r}"
            ) from None

    def point(self, image: Images, query: str, **options: Any) -> Pointing:
        given = self._taken(image)
        return self._checked("point", self._pointer.point(given, query, **options))

    def count(self, image: Images, query: str, **options: Any) -> Pointing:
        own = self._own("count")
        if own is not None:
            return self._checked("count", own(self._taken(image), query, **options))
        return self.point(image, query, **options)

    def stream(self, image: Images, query: str, **options: Any) -> PointStream:
        own = self._own("stream")
        if own is not None:
            given = own(self._taken(image), query, **options)
            return cast("PointStream", self._iterator("stream", given))
        return _points_of(self.point(image, query, **options))

    def ask(self, image: Images, question: str, *, timeout_s: float | None = None) -> str:
        own = self._own("ask")
        if own is not None:
            return self._text(own(self._taken(image), question, timeout_s=timeout_s))
        return drained(self._text_stream(image, question, timeout_s))

    def stream_text(
        self, image: Images, question: str, *, timeout_s: float | None = None
    ) -> TextStream:
        if self._own("stream_text") is None:
            return _pieces_of(self.ask(image, question, timeout_s=timeout_s))
        return self._text_stream(image, question, timeout_s)

    def open(self, image: Images) -> View:
        own, given = self._own("open"), self._taken(image)
        if own is not None:
            view = own(given)
            missing = [name for name in _OF_A_VIEW if not hasattr(view, name)]
            if missing:
                raise ServiceError(
                    f"{self._kind}.open returned {type(view).__name__}, expected a View: it lacks {', '.join(missing)}"
                )
            return cast("View", view)
        if isinstance(given, (list, Video)):
            raise UsageError(f"{self.model} opens single images only: ask without opening")
        return ImageView(self, load_image(given))

    def point_many(
        self, requests: Iterable[tuple[Images, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        own = self._own("point_many")
        if own is not None:
            given = [(self._taken(image), query) for image, query in requests]
            answers = own(given, timeout_s=timeout_s)
            return [self._checked("point_many", answer) for answer in answers]
        timeout_s = check_timeout(timeout_s)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        return all_or_error(
            [self._one(request, number, until) for number, request in enumerate(requests)]
        )

    def point_each(
        self, image: ImageLike, queries: Sequence[str], *, timeout_s: float | None = None
    ) -> PointingStream:
        return point_each(self, image, queries, timeout_s)

    def _one(self, request: object, number: int, until: float | None) -> Pointing | PointError:
        """Return the answer of one request of several, or what stopped it."""
        try:
            image, query = check_request(request, number)
            left_s = None if until is None else max(0.0, until - time.monotonic())
            return self.point(image, query, timeout_s=left_s)
        except PointError as error:
            return error
        except Exception as error:  # of the user's own class
            failure = ServiceError(f"{self._kind}.point raised {error!r}")
            failure.__cause__ = error
            return failure

    def close(self) -> None:
        own = self._own("close")
        if own is not None:
            own()

    def _own(self, name: str) -> Callable[..., Any] | None:
        method = getattr(self._pointer, name, None)
        return method if callable(method) else None

    def _taken(self, image: Images) -> Any:
        """Return the images of a question, if the object takes as many.

        Raises:
            UsageError: Several images or a video, for an object that takes one image.
        """
        if isinstance(image, (list, Video)) and not getattr(
            self._pointer, "several_images", False
        ):
            raise UsageError(
                f"{self.model} takes one image a question: ask about each by itself, or serve a Molmo 2"
            )
        return image

    def _text_stream(self, image: Images, question: str, timeout_s: float | None) -> TextStream:
        own = self._own("stream_text")
        if own is None:
            raise UsageError(f"the model {self.model!r} answers no questions in text, it points")
        given = own(self._taken(image), question, timeout_s=timeout_s)
        return cast("TextStream", self._iterator("stream_text", given))

    def _iterator(self, method: str, given: object) -> Iterator[object]:
        """Return what a streaming method gave: a generator, or another iterable."""
        if hasattr(given, "__next__"):
            return cast("Iterator[object]", given)
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise ServiceError(
                f"{self._kind}.{method} returned {type(given).__name__}, expected a generator"
            )
        return iter(given)

    @property
    def _kind(self) -> str:
        return type(self._pointer).__name__

    def _checked(self, method: str, answer: object) -> Pointing:
        if not isinstance(answer, Pointing):
            raise ServiceError(
                f"{self._kind}.{method} returned {type(answer).__name__}, expected a Pointing"
            )
        return answer

    def _text(self, answer: object) -> str:
        if not isinstance(answer, str):
            raise ServiceError(f"{self._kind}.ask returned {type(answer).__name__}, expected text")
        return answer


def _points_of(pointing: Pointing) -> PointStream:
    yield from pointing.points
    return pointing


def _pieces_of(text: str) -> TextStream:
    if text:
        yield text
    return text


def drained(stream: TextStream, on_piece: Callable[[str], bool] = lambda piece: True) -> str:
    """Return the whole text of a stream: what it returns, or where it returns nothing, its pieces together.

    Args:
        stream: Is closed where `on_piece` returns False.
        on_piece: Takes each piece, and says whether to go on.

    Raises:
        ServiceError: A piece, or the whole, is no text.
    """
    pieces: list[str] = []
    while True:
        try:
            piece = next(stream)
        except StopIteration as end:
            whole = "".join(pieces) if end.value is None else end.value
            return _is_text(whole, "returned")
        pieces.append(_is_text(piece, "yielded"))
        if not on_piece(piece):
            close = getattr(stream, "close", None)
            if close is not None:
                close()
            return ""


def _is_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ServiceError(
            f"the model's stream of text {what} {type(value).__name__}, expected text"
        )
    return value
