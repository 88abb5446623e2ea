"""Many questions side by side over one pointer, each answered or failed for itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from molmo_point.arguments import check_request
from molmo_point.counting.tiled import count_in_tiles
from molmo_point.errors import Busy, PointError
from molmo_point.image_like import ImageLike
from molmo_point.images import Array
from molmo_point.pointer import Images, Tiles, all_or_error
from molmo_point.points import Pointing

MAX_IN_FLIGHT = 8
"""Questions on their way together: as many as a server answers in one batch by default."""


class Ask(Protocol):
    """`Pointer.point` or `Pointer.count`."""

    def __call__(
        self, image: ImageLike, query: str, *, timeout_s: float | None = None
    ) -> Pointing: ...


def ask_many(
    ask_one: Ask, requests: Iterable[tuple[Images, str]], timeout_s: float
) -> list[Pointing]:
    """Return the answers in the order of the requests, all of them within `timeout_s` seconds.

    Raises:
        BatchError: Some requests failed; all others were answered.
    """
    until = time.monotonic() + timeout_s

    def ask(request: object, number: int) -> Pointing | PointError:
        try:
            return _ask_with_retry(ask_one, *check_request(request, number), until)
        except PointError as error:
            return error

    with ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="molmo-many") as pool:
        futures = [pool.submit(ask, request, n) for n, request in enumerate(requests)]
        try:
            results = [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
    return all_or_error(results)


def count_tiles(
    count: Ask, image: ImageLike, query: str, tiles: Tiles, timeout_s: float
) -> Pointing:
    """Return the count of an image in tiles that are cut here and asked about side by side, within `timeout_s` seconds."""

    def look(images: Sequence[Array], left_s: float | None) -> list[Pointing]:
        left_s = timeout_s if left_s is None else left_s
        return ask_many(count, [(array, query) for array in images], left_s)

    return count_in_tiles(look, image, tiles, timeout_s=timeout_s)


def _ask_with_retry(ask_one: Ask, image: ImageLike, query: str, until: float) -> Pointing:
    """Ask one of many; a full queue is waited for, since it is partly our own doing."""
    wait_s = 0.05
    while True:
        left_s = max(0.001, until - time.monotonic())
        try:
            return ask_one(image, query, timeout_s=left_s)
        except Busy:
            if left_s < 2 * wait_s:
                raise
            time.sleep(wait_s)
            wait_s = min(1.0, 2 * wait_s)
