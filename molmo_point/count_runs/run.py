"""Ask about every item, several at a time; each answer is in the journal before the next question is asked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from molmo_point.annotated import together, write_annotated
from molmo_point.count_runs.items import Item
from molmo_point.count_runs.journal import Entry, Journal, entry_of
from molmo_point.drawing_mark import is_our_drawing
from molmo_point.errors import OF_ONE_REQUEST, ImageError, PointError
from molmo_point.image_like import ImageLike
from molmo_point.markup.noun_phrase import noun_phrase
from molmo_point.pointer import Pointer, Tiles
from molmo_point.points import Pointing

IMAGES_FOLDER = "images"


@dataclass(frozen=True)
class Counted:
    """What came of one item.

    Attributes:
        item: The item.
        entries: One for each query, in their order.
        kept: Number of entries that an earlier run had answered.
        undrawn: Why the annotated image was not written, or "".
    """

    item: Item
    entries: list[Entry]
    kept: int
    undrawn: str = ""


@dataclass(frozen=True)
class Counter:
    """Counts items into a journal.

    Attributes:
        pointer: Is asked; from several threads where `jobs` > 1.
        tiles: As in `Pointer.count`.
        timeout_s: For each query.
        jobs: Items that are asked about at the same time.
        draw: Whether to write annotated images.
    """

    pointer: Pointer
    journal: Journal
    tiles: Tiles = None
    timeout_s: float | None = None
    jobs: int = 1
    draw: bool = True

    def run(self, items: Iterable[Item]) -> Iterator[Counted]:
        """Yield what came of each item, in their order.

        Raises:
            PointError: What ends the run: the server is gone, the disk is full. What was answered is kept.
        """
        if self.jobs == 1:
            yield from map(self._count, items)
            return
        waiting: deque[Future[Counted]] = deque()
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="molmo-count") as pool:
            try:
                for item in items:
                    waiting.append(pool.submit(self._count, item))
                    if len(waiting) >= 2 * self.jobs:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def drawing_path(self, item: Item) -> Path:
        """Return where the annotated image of an item is written."""
        return self.journal.folder / IMAGES_FOLDER / item.drawing

    def _count(self, item: Item) -> Counted:
        entries: dict[str, Entry] = {}
        for query in item.queries:
            before = self.journal.get(item.key(query))
            if before is not None and before.answers(item):
                entries[query] = before
        kept = len(entries)
        missing = [query for query in item.queries if query not in entries]
        image: ImageLike | None = None
        if missing:
            try:
                image = item.load()
            except ImageError as error:
                failure = error
                for query in missing:
                    entries[query] = self._noted(item, query, lambda _: failure)
            else:
                for query in missing:
                    entries[query] = self._noted(item, query, self._asking(image))
        ordered = [entries[query] for query in item.queries]
        undrawn = self._draw(item, ordered, image, bool(missing)) if self.draw else ""
        return Counted(item, ordered, kept, undrawn)

    def _asking(self, image: ImageLike) -> Callable[[str], Pointing | PointError]:
        def ask(query: str) -> Pointing | PointError:
            try:
                pointing = self.pointer.count(
                    image, noun_phrase(query), tiles=self.tiles, timeout_s=self.timeout_s
                )
            except OF_ONE_REQUEST as error:
                return error
            return pointing.replace(query=query)

        return ask

    def _noted(self, item: Item, query: str, ask: Callable[[str], Pointing | PointError]) -> Entry:
        start = time.perf_counter()
        answer = ask(query)
        entry = entry_of(item, query, answer, time.perf_counter() - start)
        self.journal.add(entry)
        return entry

    def _draw(
        self, item: Item, entries: list[Entry], image: ImageLike | None, changed: bool
    ) -> str:
        """Write the annotated image where it is not there or not of these answers; return why it cannot be written, or ""."""
        path = self.drawing_path(item)
        pointings = [entry.pointing for entry in entries if entry.pointing is not None]
        if not pointings or (path.exists() and not changed):
            return ""
        if path.exists() and not is_our_drawing(path):
            return f"{path} exists and is no drawing of molmo-point"
        try:
            write_annotated(item.load() if image is None else image, together(pointings), path)
        except OSError as error:
            return f"{path} cannot be written: {error.strerror or error}"
        except ImageError as error:
            return str(error)
        return ""
