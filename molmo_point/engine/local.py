"""`LocalPointer`: a Molmo in this process behind the `Pointer` interface."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from molmo_point.arguments import (
    check_frame_id,
    check_queries,
    check_request,
    check_stamp,
    check_timeout,
    one_image,
)
from molmo_point.closing import Closing
from molmo_point.counting.tiled import Look, check_tiles, count_in_tiles
from molmo_point.engine.encoded_image import AnyImage
from molmo_point.engine.engine import Engine
from molmo_point.engine.question import Question
from molmo_point.engine.scheduler import Scheduler
from molmo_point.engine.score_calibration import Floats
from molmo_point.engine.view import LocalView
from molmo_point.errors import ImageError, PointError
from molmo_point.image_like import ImageLike
from molmo_point.model.molmo import Molmo
from molmo_point.point_map import PointMap
from molmo_point.pointer import (
    Detail,
    Images,
    Kind,
    PointingStream,
    PointStream,
    TextStream,
    Tiles,
    View,
    all_or_error,
    run_to_end,
)
from molmo_point.points import Pointing, Text

if TYPE_CHECKING:
    pass


class LocalPointer(Closing):
    """A model in this process. Made by `molmo_point.load`.

    `detail` of a question says how finely its image is looked at; None = `EngineOptions.detail`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def model(self) -> str:
        return self._engine.name

    @property
    def engine(self) -> Engine:
        """Network, tokenizer and caches of the checkpoint."""
        return self._engine

    @property
    def network(self) -> Molmo:
        """The network."""
        return self._engine.model

    def point(
        self,
        image: Images,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
        detail: Detail | None = None,
    ) -> Pointing:
        return run_to_end(
            self._stream(image, query, "point", timeout_s, stamp_ns, frame_id, detail)
        )

    def count(
        self,
        image: Images,
        query: str,
        *,
        tiles: Tiles = None,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
        detail: Detail | None = None,
    ) -> Pointing:
        """As `Pointer.count`; the tiles are decoded in one batch."""
        if check_tiles(tiles) is None:
            return run_to_end(
                self._stream(image, query, "count", timeout_s, stamp_ns, frame_id, detail)
            )
        source = {"stamp_ns": check_stamp(stamp_ns), "frame_id": check_frame_id(frame_id)}
        pointing = count_in_tiles(
            self.look(query, detail), one_image(image), tiles, timeout_s=check_timeout(timeout_s)
        )
        counts = self._engine.counts
        return (counts.with_interval(pointing) if counts else pointing).replace(**source)

    def look(self, query: str, detail: Detail | None = None) -> Look:
        """Return a function that counts in several images, decoded in one batch."""
        return lambda images, left_s: self._many(
            [(array, query) for array in images], "count", left_s, detail
        )

    def ask(
        self,
        image: Images,
        question: str,
        *,
        timeout_s: float | None = None,
        detail: Detail | None = None,
    ) -> Text:
        if image is None:
            raise ImageError(
                "expected an image, got None (of a camera or a file that could not be read?); "
                "a question without an image: stream_text(None, question)"
            )
        return Text.of(
            run_to_end(self.stream_text(image, question, timeout_s=timeout_s, detail=detail))
        )

    def stream(
        self,
        image: Images,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
        detail: Detail | None = None,
    ) -> PointStream:
        return self._stream(image, query, "point", timeout_s, stamp_ns, frame_id, detail)

    def stream_text(
        self,
        image: Images | None,
        question: str,
        *,
        timeout_s: float | None = None,
        detail: Detail | None = None,
    ) -> TextStream:
        """Answer in pieces; `image` may be None for a question without an image."""
        engine = self._engine
        asked = Question.now(question, "text", timeout_s)
        encoded = engine.no_image() if image is None else engine.encode(image, detail)[0]
        return (yield from engine.stream(engine.prepare_text(encoded, asked)))

    def open(self, image: Images, *, detail: Detail | None = None) -> LocalView:
        return LocalView(self._engine, *self._engine.encode(image, detail))

    def point_many(
        self,
        requests: Iterable[tuple[Images, str]],
        *,
        timeout_s: float | None = None,
        detail: Detail | None = None,
    ) -> list[Pointing]:
        """Point in many images, up to `max_batch` answers side by side.

        `timeout_s` is the budget for all of them together; answers that are not complete by then are `truncated`.

        Raises:
            BatchError: Some requests failed; all others were answered.
        """
        return self._many(requests, "point", check_timeout(timeout_s), detail)

    def _many(
        self,
        requests: Iterable[tuple[Images | View, str]],
        kind: Kind,
        timeout_s: float | None,
        detail: Detail | None = None,
    ) -> list[Pointing]:
        """Answer as `point_many` does, by pointing or by counting."""
        done = dict(self._answers(requests, timeout_s, kind, detail))
        return all_or_error([done[key] for key in range(len(done))])

    def _answers(
        self,
        requests: Iterable[tuple[Images | View, str]],
        timeout_s: float | None,
        kind: Kind = "point",
        detail: Detail | None = None,
    ) -> Iterator[tuple[Hashable, Pointing | PointError]]:
        """Yield (index, answer or what stopped it) of each request, in the order in which they are answered."""
        timeout_s = check_timeout(timeout_s)
        deadline = None if timeout_s is None else time.perf_counter() + timeout_s
        scheduler = self.scheduler()
        waiting = enumerate(requests)
        while True:
            while scheduler.free_rows and (following := next(waiting, None)) is not None:
                key, request = following
                try:
                    image, query = check_request(request, key)
                    left_s = _left(deadline)
                    scheduler.add(key, image, query, kind=kind, timeout_s=left_s, detail=detail)
                except PointError as error:
                    yield key, error
            if not scheduler.has_work:
                return
            for output in scheduler.step():
                if output.error is not None:
                    yield output.key, output.error
                elif isinstance(output.result, Pointing):
                    yield output.key, output.result

    def point_each(
        self,
        image: ImageLike,
        queries: Sequence[str],
        *,
        timeout_s: float | None = None,
        detail: Detail | None = None,
    ) -> PointingStream:
        """As `Pointer.point_each`; up to `max_batch` queries are answered side by side."""
        asked = check_queries(queries)
        with self.open(image, detail=detail) as view:
            together = self._answers([(view, query) for query in asked], timeout_s)
            results: list[Pointing | PointError] = []
            done: dict[Hashable, Pointing | PointError] = {}
            for key, result in together:
                done[key] = result
                while (following := done.get(len(results))) is not None:
                    results.append(following)
                    if isinstance(following, Pointing):
                        yield following
        return all_or_error(results)

    def point_with_features(
        self, image: Images, query: str, *, kind: Kind = "point"
    ) -> tuple[Pointing, list[Floats | None]]:
        """Point or count, and also return the hidden features that a calibration's probes use.

        Returns:
            The answer, and for each of its points the decoder's output at the end of the question and of the point [2 D]; None
            for a point that is not written in digits.
        """
        question = Question.now(query, kind)
        request = self._engine.prepare_points(*self._engine.encode(image), question)
        return run_to_end(self._engine.stream(request)), request.answer.hidden_features()

    def point_map(self, image: ImageLike, query: str) -> PointMap:
        """Return how probable each place of an image is as the first point.

        Raises:
            UsageError: The model writes points as text and has no such map (all but MolmoPoint).
        """
        return self._engine.point_map(*self._engine.encode(image)[:1], query)

    def prepare(self, image: Images, *, detail: Detail | None = None) -> AnyImage:
        """Decode an image and cut it into crops, for `Scheduler.add`; from any thread. A known image is returned encoded.

        Raises:
            ImageError: Not an image.
        """
        return self._engine.prepare(image, detail)

    def scheduler(self) -> Scheduler:
        """Return a scheduler for a server's loop: many questions at once, which join at any time."""
        return Scheduler(self._engine)

    def close(self) -> None:
        self._engine.clear_caches()

    def _stream(
        self,
        image: Images,
        query: str,
        kind: Kind,
        timeout_s: float | None,
        stamp_ns: int | None,
        frame_id: str | None,
        detail: Detail | None,
    ) -> PointStream:
        # Checked before the image is encoded, which takes longest.
        question = Question.now(query, kind, timeout_s)
        source = {"stamp_ns": check_stamp(stamp_ns), "frame_id": check_frame_id(frame_id)}
        request = self._engine.prepare_points(*self._engine.encode(image, detail), question)
        pointing = yield from self._engine.stream(request)
        return pointing.replace(**source)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.perf_counter())
