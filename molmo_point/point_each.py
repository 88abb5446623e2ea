"""Several queries of one image, one after the other, for pointers that have no faster way."""

from __future__ import annotations

import time
from collections.abc import Sequence

from molmo_point.arguments import check_queries, check_timeout
from molmo_point.errors import PointError
from molmo_point.image_like import ImageLike
from molmo_point.pointer import Pointer, PointingStream, all_or_error
from molmo_point.points import Pointing


def point_each(
    pointer: Pointer, image: ImageLike, queries: Sequence[str], timeout_s: float | None
) -> PointingStream:
    """As `Pointer.point_each`: open the image once and ask the view query by query."""
    asked = check_queries(queries)
    timeout_s = check_timeout(timeout_s)
    until = None if timeout_s is None else time.monotonic() + timeout_s
    results: list[Pointing | PointError] = []
    with pointer.open(image) as view:
        for query in asked:
            left_s = None if until is None else max(0.0, until - time.monotonic())
            try:
                pointing = view.point(query, timeout_s=left_s)
            except PointError as error:
                results.append(error)
                continue
            results.append(pointing)
            yield pointing
    return all_or_error(results)
