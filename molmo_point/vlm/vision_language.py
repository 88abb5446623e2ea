"""`VisionLanguagePointer`: a model that writes its points as text, wherever it runs. A subclass says how it is asked."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import Generic, Protocol, TypeVar

from molmo_point.arguments import check_frame_id, check_query, check_stamp, check_timeout
from molmo_point.closing import Closing
from molmo_point.counting.tiled import check_tiles
from molmo_point.image_like import ImageLike
from molmo_point.image_view import ImageView
from molmo_point.images import load_image
from molmo_point.markup import PointParser
from molmo_point.point_each import point_each
from molmo_point.pointer import (
    PointingStream,
    PointStream,
    TextStream,
    Tiles,
    run_to_end,
)
from molmo_point.points import FinishReason, Point, Pointing, Text, Timing
from molmo_point.repeats import Repeats
from molmo_point.vlm.formats import PointFormat, read_answer
from molmo_point.vlm.reply import Exchange, Reply
from molmo_point.vlm.scores import with_scores


class Question(Protocol):
    """An image and a prompt, ready for the model."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the original image after EXIF rotation."""

    @property
    def sent_size(self) -> tuple[int, int]:
        """(width, height) of the image as the model sees it, in whose pixels some formats count."""


Asked = TypeVar("Asked", bound=Question)


class VisionLanguagePointer(Closing, ABC, Generic[Asked]):
    """A vision-language model behind the `Pointer` interface.

    Args:
        model: Its name.
        form: How it writes points.
        timeout_s: Budget of each call that brings none of its own, seconds; None for no limit.
    """

    batches = False

    def __init__(self, model: str, form: PointFormat, timeout_s: float | None) -> None:
        self.model = model
        self._format = form
        self._timeout_s = timeout_s

    @abstractmethod
    def _question(self, image: ImageLike, prompt: str, form: PointFormat | None) -> Asked:
        """Return an image and a prompt as the model takes them.

        Args:
            form: How points will be written; None for free text.

        Raises:
            ImageError: As `load_image`.
        """

    @abstractmethod
    def _exchange(self, question: Asked, timeout_s: float | None, *, scored: bool) -> Exchange:
        """Ask; yield pieces of text and return the reply.

        Args:
            timeout_s: Budget in seconds; None for no limit.
            scored: Whether the reply needs log-probabilities.
        """

    @abstractmethod
    def _count_in_tiles(
        self, image: ImageLike, query: str, tiles: Tiles, timeout_s: float | None
    ) -> Pointing:
        """Count in tiles of an image."""

    @abstractmethod
    def point_many(
        self, requests: Iterable[tuple[ImageLike, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        """As `Pointer.point_many`."""

    def point(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        stream = self.stream(
            image, query, timeout_s=timeout_s, stamp_ns=stamp_ns, frame_id=frame_id
        )
        return run_to_end(stream)

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
        """As `Pointer.count`; tiles are cut here. Counts have no interval."""
        query = check_query(query)
        if check_tiles(tiles) is not None:
            source = {"stamp_ns": check_stamp(stamp_ns), "frame_id": check_frame_id(frame_id)}
            budget_s = self._budget(timeout_s)
            return self._count_in_tiles(image, query, tiles, budget_s).replace(**source)
        prompt = self._format.count or self._format.prompt
        return run_to_end(self._point(image, query, prompt(query), timeout_s, stamp_ns, frame_id))

    def ask(self, image: ImageLike, question: str, *, timeout_s: float | None = None) -> Text:
        return Text.of(run_to_end(self.stream_text(image, question, timeout_s=timeout_s)))

    def stream(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        """As `Pointer.stream`; formats that are read as a whole (JSON, tags) yield their points at the end."""
        prompt = self._format.prompt(check_query(query))
        return self._point(image, query, prompt, timeout_s, stamp_ns, frame_id)

    def stream_text(
        self, image: ImageLike, question: str, *, timeout_s: float | None = None
    ) -> TextStream:
        asked = self._question(image, check_query(question), None)
        reply = yield from self._exchange(asked, self._budget(timeout_s), scored=False)
        timing = Timing(prompt_tokens=reply.prompt_tokens, new_tokens=reply.new_tokens)
        return Text(reply.text, reply.finish_reason or FinishReason.LENGTH, timing)

    def open(self, image: ImageLike) -> ImageView:
        """Decode `image` once; it is encoded with each question."""
        return ImageView(self, load_image(image))

    def point_each(
        self, image: ImageLike, queries: Sequence[str], *, timeout_s: float | None = None
    ) -> PointingStream:
        """As `Pointer.point_each`; decoded once, but encoded with each query."""
        return point_each(self, image, queries, self._budget(timeout_s))

    def _point(
        self,
        image: ImageLike,
        query: str,
        prompt: str,
        timeout_s: float | None,
        stamp_ns: int | None,
        frame_id: str | None,
    ) -> PointStream:
        start = time.perf_counter()
        check_query(query)
        about = {"stamp_ns": check_stamp(stamp_ns), "frame_id": check_frame_id(frame_id)}
        form = self._format
        asked = self._question(image, prompt, form)
        parser = None if form.parser is None else form.parser(label=query)
        pieces = self._exchange(asked, self._budget(timeout_s), scored=True)
        reply = yield from _points_in(pieces, parser)
        # Where nobody says why the text ended, it may have been cut.
        cut = reply.finish_reason is not FinishReason.STOP
        pointing = read_answer(form, reply.text, query, asked.size, asked.sent_size, cut=cut)
        pointing = with_scores(pointing, reply.tokens, form.place)
        if form.parser is None:
            yield from pointing.points
        timing = Timing(
            total_s=time.perf_counter() - start,
            prompt_tokens=reply.prompt_tokens,
            new_tokens=reply.new_tokens,
        )
        return pointing.replace(model=self.model, timing=timing, **about)

    def _budget(self, timeout_s: float | None) -> float | None:
        checked = check_timeout(timeout_s)
        return self._timeout_s if checked is None else checked


def _points_in(pieces: Exchange, parser: PointParser | None) -> Generator[Point, None, Reply]:
    """Yield the points that each piece of text completes, where a parser reads them while they come; return the reply."""
    repeats = Repeats(calibrated=False)
    with closing(pieces):
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                return end.value
            if parser is not None:
                yield from filter(repeats.is_new, parser.feed(piece))
