"""`FakePointer`: a Pointer without a model, for tests of code that uses one. Part of the package for tests of users."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Union

from molmo_point.arguments import (
    check_frame_id,
    check_query,
    check_request,
    check_stamp,
    check_timeout,
)
from molmo_point.counting.tiled import check_tiles, count_in_tiles
from molmo_point.errors import PointError
from molmo_point.image_like import ImageLike
from molmo_point.image_view import ImageView
from molmo_point.images import Array, load_image
from molmo_point.point_each import point_each
from molmo_point.pointer import (
    PointingStream,
    PointStream,
    TextStream,
    Tiles,
    all_or_error,
)
from molmo_point.points import Point, Pointing, Status, Text, Timing

Answer = Union[Sequence[Point], Sequence[tuple[float, float]], Pointing, PointError]
Answerer = Callable[[Array, str], Answer]


class FakePointer:
    """Answers from a mapping or a function, and records the questions.

    Args:
        answers: Either {query: answer} or a function (image array, query) -> answer. An answer is a sequence of `Point` or of
            (x, y), a `Pointing`, or an exception to raise. Queries that are not in the mapping are answered `not_found`.
        texts: {question: text} for `ask`; all other questions are answered "".
        delay_s: Seconds that each answer takes; more than `timeout_s` gives status `truncated` without points.

    Attributes:
        calls: (kind, query) of each question so far, in order.

    >>> FakePointer({"mug": [(0.25, 0.5)]}).point(np.zeros((4, 4, 3), np.uint8), "mug").points[0].x
    0.25
    """

    model = "fake"
    batches = False
    """`point_many` answers one after another, so that a server need not gather questions."""

    def __init__(
        self,
        answers: Mapping[str, Answer] | Answerer | None = None,
        *,
        texts: Mapping[str, str] | None = None,
        delay_s: float = 0.0,
    ) -> None:
        self._answers = answers if answers is not None else {}
        self._texts = dict(texts or {})
        self._delay_s = delay_s
        self.calls: list[tuple[str, str]] = []
        self.closed = False

    def point(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        return self._answer("point", image, query, timeout_s, stamp_ns, frame_id)

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
        def look(images: Sequence[Array], left_s: float | None) -> list[Pointing]:
            return [
                self._answer("count", array, query, left_s, stamp_ns, frame_id) for array in images
            ]

        if check_tiles(tiles) is not None:
            return count_in_tiles(look, image, tiles, timeout_s=check_timeout(timeout_s))
        pointing = self._answer("count", image, query, timeout_s, stamp_ns, frame_id)
        return pointing.replace(stated_count=pointing.count)

    def ask(self, image: ImageLike, question: str, *, timeout_s: float | None = None) -> Text:
        load_image(image)
        check_timeout(timeout_s)
        self.calls.append(("ask", _checked(question)))
        time.sleep(self._delay_s)
        return Text.of(self._texts.get(question, ""))

    def stream(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        pointing = self._answer("stream", image, query, timeout_s, stamp_ns, frame_id)
        yield from pointing.points
        return pointing

    def stream_text(
        self, image: ImageLike, question: str, *, timeout_s: float | None = None
    ) -> TextStream:
        text = self.ask(image, question, timeout_s=timeout_s)
        yield from re.findall(r" *[^ ]+| +$", text)
        return text

    def open(self, image: ImageLike) -> ImageView:
        return ImageView(self, load_image(image))

    def point_many(
        self, requests: Iterable[tuple[ImageLike, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        results: list[Pointing | PointError] = []
        for number, request in enumerate(requests):
            try:
                image, query = check_request(request, number)
                results.append(self.point(image, query, timeout_s=timeout_s))
            except PointError as error:
                results.append(error)
        return all_or_error(results)

    def point_each(
        self, image: ImageLike, queries: Sequence[str], *, timeout_s: float | None = None
    ) -> PointingStream:
        return point_each(self, image, queries, timeout_s)

    def close(self) -> None:
        self.closed = True

    def _answer(
        self,
        kind: str,
        image: ImageLike,
        query: str,
        timeout_s: float | None,
        stamp_ns: int | None,
        frame_id: str | None,
    ) -> Pointing:
        array = load_image(image)
        timeout_s = check_timeout(timeout_s)
        stamp_ns, frame_id = check_stamp(stamp_ns), check_frame_id(frame_id)
        self.calls.append((kind, _checked(query)))
        start = time.perf_counter()
        size = (array.shape[1], array.shape[0])
        if timeout_s is not None and self._delay_s > timeout_s:
            time.sleep(timeout_s)
            pointing = Pointing(query=query, status=Status.TRUNCATED, image_size=size)
        else:
            time.sleep(self._delay_s)
            answers = self._answers
            answer = answers(array, query) if callable(answers) else answers.get(query, ())
            pointing = _as_pointing(answer, query, size)
        timing = Timing(total_s=time.perf_counter() - start)
        return pointing.replace(
            model=self.model, stamp_ns=stamp_ns, frame_id=frame_id, timing=timing
        )


def _checked(query: str) -> str:
    check_query(query)
    return query


def _as_pointing(answer: Answer, query: str, size: tuple[int, int]) -> Pointing:
    if isinstance(answer, PointError):
        raise answer
    if isinstance(answer, Pointing):
        return answer
    points = tuple(_as_point(item, query, index) for index, item in enumerate(answer))
    status = Status.FOUND if points else Status.NOT_FOUND
    return Pointing(query=query, points=points, status=status, image_size=size)


def _as_point(item: object, query: str, index: int) -> Point:
    if isinstance(item, Point):
        return item.model_copy(update={"index": index})
    if isinstance(item, tuple) and len(item) == 2:
        return Point(x=item[0], y=item[1], label=query, index=index)
    raise TypeError(f"expected a Point or a pair (x, y) as a fake answer, got {item!r}")
