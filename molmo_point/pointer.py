"""The interface of everything that can point: `Pointer`.

A model in this process, a server on another machine and a fake in a test have the same methods and return the same `Pointing`.
The ROS node, the click agent, the scorer and the server use this interface only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, Union, runtime_checkable

from molmo_point.errors import BatchError, PointError, UsageError
from molmo_point.image_like import ImageLike
from molmo_point.points import Point, Pointing, Text

if TYPE_CHECKING:
    pass

Result = TypeVar("Result")


@dataclass(frozen=True)
class Video:
    """Frames of a video, for a Molmo 2: `pointer.point(Video(frames, times_s), "the ball")`. Points have `time_s`.

    Attributes:
        frames: All of one size. The models were trained with at most 2 a second and 384 in all, the last one among them.
        times_s: Their times in seconds, ascending. In the text they have one decimal, which must tell them apart; only the last
            two frames may share it, since the last frame of a video is added to those at a regular distance.

    Raises:
        UsageError: No frames, not as many times, or times that do not ascend.
    """

    frames: Sequence[ImageLike]
    times_s: Sequence[float]

    def __post_init__(self) -> None:
        times = [float(time_s) for time_s in self.times_s]
        if not times or len(times) != len(self.frames):
            raise UsageError(
                f"expected a time for each frame and at least one, got {len(self.frames)} frames and {len(times)} times"
            )
        names = [round(time_s, 1) for time_s in times if math.isfinite(time_s) and time_s >= 0]
        if len(names) < len(times) or not _ascend(times) or not _ascend(names[:-1]):
            raise UsageError(
                f"expected times_s as ascending seconds, at least 0.1 s apart, got {times[:8]}"
            )


def _ascend(numbers: Sequence[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(numbers))


Images = Union[ImageLike, Sequence[ImageLike], Video]
"""One image; several, which are asked about together (`Point.image_index`); or a video. Several and videos need a Molmo 2."""

Kind = Literal["point", "count", "text"]
"""Point to things, count them by pointing, or answer in free text."""

Detail = Union[int, Literal["auto", "low"]]
"""How finely an image is looked at: "auto" as the model was trained, "low" for the global crop alone, or at most N crops in
all, the global one included, and never more than in training. Fewer crops take less time and lose small things."""

Tiles = Union[int, Literal["auto"], None]
"""Number of tiles, "auto" for what the first look asks for, or None for one look at the whole image."""

PointStream = Generator[Point, None, Pointing]
"""Yields each `Point` as soon as its markup is complete; returns the `Pointing` (`pointing = yield from stream`)."""

PointingStream = Generator[Pointing, None, list[Pointing]]
"""Yields the answer to each query in the order of the queries, as soon as it is complete; returns all of them."""

TextStream = Generator[str, None, str]
"""Yields pieces of text as they are decoded; returns the whole text, a `Text` if the pointer knows why it ended."""


def run_to_end(stream: Generator[object, None, Result]) -> Result:
    """Run a stream to its end and return its result."""
    while True:
        try:
            next(stream)
        except StopIteration as end:
            result: Result = end.value
            return result


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
    """An image, encoded once, open for many questions. Close it, or use it in a `with` block."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels, after EXIF rotation."""

    def point(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        """Point to every instance of `query`."""

    def count(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        """Count by pointing: `result.count` is the answer, `result.stated_count` the number in the model's text."""

    def ask(self, question: str, *, timeout_s: float | None = None) -> str:
        """Answer a free question in text: a `Text`, whose `finish_reason` says whether it is complete."""

    def stream(self, query: str, *, timeout_s: float | None = None) -> PointStream:
        """Like `point`, but yields each point as soon as its markup is complete."""

    def stream_text(self, question: str, *, timeout_s: float | None = None) -> TextStream:
        """Like `ask`, but yields pieces of text."""

    def close(self) -> None:
        """Free the encoded image. Closing twice is allowed."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class Pointer(Protocol):
    """Anything that turns an image and a few words into points.

    `timeout_s` is the budget in seconds for the whole call; None = no limit for a local model, the client's default for a server.
    A model that exceeds it returns the complete points with status `truncated`; a server that does not answer raises `TimedOut`.
    `stamp_ns` and `frame_id` are copied to the `Pointing`.

    Raises (all methods): `ImageError`, `QueryError`, `UsageError` (invalid timeout, stamp or frame), `ModelFailed`, and from
    servers the subclasses of `ServiceError`.
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
        tiles: Tiles = None,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        """Count by pointing: `result.count` is the answer, `result.count_interval` the interval around it, if there is one.

        Args:
            tiles: Also look at this many overlapping tiles; "auto" = as many as a first look asks for. `result.tiling` says what
                was done (`molmo_point.tiles`).
        """

    def ask(self, image: ImageLike, question: str, *, timeout_s: float | None = None) -> str:
        """Answer a free question about `image` in text: a `Text`, whose `finish_reason` says whether it is complete."""

    def stream(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        """Like `point`, but yields each point as soon as its markup is complete."""

    def stream_text(
        self, image: ImageLike, question: str, *, timeout_s: float | None = None
    ) -> TextStream:
        """Like `ask`, but yields pieces of text."""

    def open(self, image: ImageLike) -> View:
        """Encode `image` once for many questions."""

    def point_each(
        self, image: ImageLike, queries: Sequence[str], *, timeout_s: float | None = None
    ) -> PointingStream:
        """Answer several queries about one image, which is sent and encoded once.

        Yields the answers in the order of the queries, each as soon as it and those before it are complete.

        Raises:
            BatchError: Some queries failed, raised after the answers of the others; `results` holds everything in order.
        """

    def point_many(
        self, requests: Iterable[tuple[ImageLike, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        """Point in many images; return the answers of `point` in the order of the requests.

        Raises:
            BatchError: Some requests failed (for example, an unreadable image). `results` holds the answers of all others.
        """

    def close(self) -> None:
        """Free the model or the connection. Closing twice is allowed."""


@dataclass(frozen=True, eq=False)
class StepOutput:
    """What a step brought for one question.

    Attributes:
        key: As given to `Scheduler.add`.
        points: New complete points.
        piece: New text.
        result: The whole answer, at its end.
        view: The opened image, where one was to be opened.
        error: Why there is no answer: the question has left, the others go on.
    """

    key: Hashable
    points: tuple[Point, ...] = ()
    piece: str = ""
    result: Pointing | Text | None = None
    view: View | None = None
    error: PointError | None = None

    @property
    def last(self) -> bool:
        """Whether the question has left the scheduler."""
        return self.error is not None or self.result is not None or self.view is not None


class PreparedImage(Protocol):
    """An image that is cut into crops, or known already: made by `SchedulingPointer.prepare`, taken by its scheduler."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels, after EXIF rotation."""

    @property
    def crop_bytes(self) -> int:
        """Bytes of the crops that wait for the model; 0 for a known image."""


class Scheduler(Protocol):
    """Answers many questions side by side, one piece of the model's work at a time. Not thread-safe."""

    @property
    def free_rows(self) -> int:
        """Number of questions that can be added now."""

    @property
    def has_work(self) -> bool:
        """Whether any question is unfinished."""

    def takes(self, image: PreparedImage, *, ahead: bool = False) -> bool:
        """Return whether an image can be added without waiting behind more crops than the model takes at once.

        A known image always can. Others may be added all the same.

        Args:
            ahead: As for `add`.
        """

    def add(
        self,
        key: Hashable,
        image: Images | PreparedImage | View | None,
        query: str,
        *,
        kind: Kind = "point",
        timeout_s: float | None = None,
        max_new_tokens: int | None = None,
        detail: Detail | None = None,
        ahead: bool = False,
    ) -> None:
        """Add a question; needs a free row. No pass of the model is made.

        Args:
            key: The caller's name for it; not one of an unfinished question.
            image: An image, decoded and cut into crops now unless `prepare` has done that; an opened view of the same Pointer; or
                None for a free question without an image.
            query: What to point to, count or answer.
            kind: How to answer.
            timeout_s: Budget in seconds; None for no limit.
            max_new_tokens: Longest answer in tokens; None for the pointer's own limit, which holds in any case.
            detail: Of an image that is not prepared yet; passed on only where a question has one.
            ahead: Images are taken in the order of their addition; this one overtakes those that do not go ahead, each once.

        Raises:
            ImageError, QueryError, UsageError: As `Pointer.point`. The question is not added.
        """

    def open(
        self,
        key: Hashable,
        image: Images | PreparedImage,
        *,
        detail: Detail | None = None,
        ahead: bool = False,
    ) -> None:
        """Add an image to be opened; needs a free row until the step whose output has the view. Arguments and errors as `add`."""

    def cancel(self, key: Hashable) -> None:
        """Cancel a question and free its row. One that has left is no error."""

    def step(self) -> Sequence[StepOutput]:
        """Do one piece of work: a batch of crops, a chunk of an image's tokens, or a pass for all answers."""


@runtime_checkable
class SchedulingPointer(Pointer, Protocol):
    """A Pointer whose questions join while others are answered (continuous batching)."""

    def open(self, image: Images) -> View:
        """As `Pointer.open`, also of several images and of videos where the model takes them."""

    def prepare(self, image: Images, *, detail: Detail | None = None) -> PreparedImage:
        """Decode an image and cut it into crops, without the model; from any thread.

        Args:
            detail: Passed on only where a question has one; None = the pointer's own.

        Raises:
            ImageError: Not an image.
        """

    def scheduler(self) -> Scheduler:
        """Return a new scheduler without questions."""
