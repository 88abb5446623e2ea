"""Count in tiles: a first look at the whole image says how many tiles are needed; their answers are merged."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Union

from molmo_point.counting.grid import Tile, most_tiles, shape_for, split
from molmo_point.counting.merge import merge
from molmo_point.counting.spacing import median_spacing
from molmo_point.errors import BatchError, PointError, UsageError
from molmo_point.image_like import ImageLike
from molmo_point.images import Array, load_image
from molmo_point.pointer import Tiles
from molmo_point.points import Pointing, Status, Tiling, Timing

Look = Callable[[Sequence[Array], Union[float, None]], list[Pointing]]
"""Counts in several images side by side, within a number of seconds (None: no limit); a failure is raised."""

MOST_TILES = 256
POINTS_PER_TILE = 5
"""What a tile should hold. A model counts a handful of large things best; with more, more of them are missed."""

NEAREST = 0.12
"""Spacing of points (median distance to the nearest other, as a share of the longer side) below which things are too small."""

COMPLETE = (Status.FOUND, Status.NOT_FOUND)
AGREEMENT = 0.1
"""Largest difference between the first look and the tiles that is no disagreement, as a share of the larger count; or 1."""


def check_tiles(tiles: object) -> Tiles:
    """Return the number of tiles, "auto" or None.

    Raises:
        UsageError: Something else, or a number outside 1 to MOST_TILES.
    """
    if tiles is None or tiles == "auto":
        return tiles  # type: ignore[return-value]
    if isinstance(tiles, bool) or not isinstance(tiles, int) or not 1 <= tiles <= MOST_TILES:
        raise UsageError(
            f"expected tiles to be 'auto', None or a number from 1 to {MOST_TILES}, got {tiles!r}"
        )
    return tiles


@dataclass(frozen=True)
class Looks:
    """The model's answers about one image.

    Attributes:
        whole: About the whole image.
        shape: (columns, rows) of the tiles.
        tiles: Each tile with its answer; none where the look at the whole image is enough.
        number: Of all looks, the divided tiles included.
        seconds: Spent on all of them together.
    """

    whole: Pointing
    shape: tuple[int, int]
    tiles: Sequence[tuple[Tile, Pointing]]
    number: int
    seconds: float


def count_in_tiles(
    look: Look, image: ImageLike, tiles: Tiles, *, timeout_s: float | None = None
) -> Pointing:
    """Return the answer of all tiles in coordinates of the whole image; `tiling` says what was done.

    With "auto" the first look alone is returned where it holds few, well separated points. A tile whose answer is incomplete, or
    holds more than twice POINTS_PER_TILE points, is divided once more.

    Args:
        look: Asks the model.
        timeout_s: For everything together. Looks that come too late are `truncated`, and so is the answer.

    Raises:
        UsageError, ImageError: As `Pointer.count`.
        MissingExtra: scipy is not installed.
    """
    wanted = check_tiles(tiles)
    return combined(looks_at(look, load_image(image), wanted, timeout_s=timeout_s))


def looks_at(look: Look, array: Array, tiles: Tiles, *, timeout_s: float | None = None) -> Looks:
    """Ask about the whole image and its tiles. A number of tiles that is given is asked about together with the whole image."""
    start = time.perf_counter()

    def ask(boxes: Sequence[Tile]) -> list[Pointing]:
        spent = time.perf_counter() - start
        left_s = None if timeout_s is None else max(0.0, timeout_s - spent)
        try:
            return look([array[b.top : b.bottom, b.left : b.right] for b in boxes], left_s)
        except BatchError as error:
            # The count of the image is not known without each of its tiles.
            raise next(one for one in error.results if isinstance(one, PointError)) from error

    full = Tile(0, 0, array.shape[1], array.shape[0])
    size = (full.width, full.height)
    boxes = _tiles(full, tiles) if isinstance(tiles, int) else []
    if len(boxes) > 1:
        whole, *answers = ask([full, *boxes])
    else:
        (whole,) = ask([full])
        boxes = boxes or _tiles(full, tiles_for(whole))
        if len(boxes) == 1:
            return Looks(whole, (1, 1), (), 1, time.perf_counter() - start)
        answers = ask(boxes)
    seen, number = _refined(boxes, answers, ask)
    shape = shape_for(size, len(boxes))
    return Looks(whole, shape, seen, 1 + number, time.perf_counter() - start)


def combined(looks: Looks) -> Pointing:
    """Return the merged answer."""
    whole, (columns, rows) = looks.whole, looks.shape
    if not looks.tiles:
        return whole.replace(tiling=Tiling(columns=1, rows=1, looks=1))
    merged = merge(looks.tiles, whole.image_size)
    known = whole.status in COMPLETE
    tiling = Tiling(
        columns=columns,
        rows=rows,
        looks=looks.number,
        seam_duplicates=merged.duplicates,
        whole_count=whole.count if known else None,
        agrees=agree(whole.count, len(merged.points)) if known else None,
    )
    parts = [answer for _, answer in looks.tiles]
    return whole.replace(
        points=merged.points,
        status=_status(parts, len(merged.points)),
        stated_count=None,
        duplicates=sum(answer.duplicates for answer in parts),
        text="\n".join(answer.text for answer in parts),
        timing=_timing([whole, *parts], looks.seconds),
        tiling=tiling,
    )


def tiles_for(whole: Pointing) -> int:
    """Return how many tiles a first look asks for: by the number of points, and by how close they lie."""
    by_count = max(1, math.ceil(whole.count / POINTS_PER_TILE))
    if whole.status not in COMPLETE:
        by_count = max(4, by_count)
    spacing = median_spacing(whole)
    # Tiles in which neighbours are NEAREST of the side apart.
    by_spacing = 1 if spacing is None else math.ceil(0.5 * (NEAREST / max(spacing, 1e-3)) ** 2)
    # Points that lie close may also be one thing pointed at twice: spacing asks for no more than twice what the count does.
    return min(max(by_count, min(by_spacing, 2 * by_count)), MOST_TILES)


def agree(whole: int, tiled: int) -> bool:
    """Whether the first look's count and the tiles' are the same up to AGREEMENT, or to 1."""
    return abs(whole - tiled) <= max(1.0, AGREEMENT * max(whole, tiled))


def _tiles(full: Tile, number: int) -> list[Tile]:
    number = min(number, most_tiles(full))
    return split(full, *shape_for((full.width, full.height), number))


def _refined(
    boxes: Sequence[Tile],
    answers: Sequence[Pointing],
    ask: Callable[[Sequence[Tile]], list[Pointing]],
) -> tuple[list[tuple[Tile, Pointing]], int]:
    """Divide the tiles that one look was not enough for; return all tiles with their answers, and the number of looks."""
    seen: list[tuple[Tile, Pointing]] = []
    parts: list[Tile] = []
    for box, answer in zip(boxes, answers, strict=True):
        full = answer.count > 2 * POINTS_PER_TILE or answer.status is Status.MALFORMED
        inner = split(box, 2, 2) if full and most_tiles(box) >= 4 else []
        parts += inner
        if not inner:
            seen.append((box, answer))
    if parts:
        seen += zip(parts, ask(parts), strict=True)
    return seen, len(boxes) + len(parts)


def _status(answers: Sequence[Pointing], count: int) -> Status:
    """The first incomplete answer's status, else whether anything was found."""
    worst = (answer.status for answer in answers if answer.status not in COMPLETE)
    return next(worst, Status.FOUND if count else Status.NOT_FOUND)


def _timing(answers: Sequence[Pointing], total_s: float) -> Timing:
    """Return the sums of the looks, which all have the same detail."""
    summed = {
        name: sum(getattr(answer.timing, name) for answer in answers)
        for name in Timing.model_fields
        if name != "detail"
    }
    detail = answers[0].timing.detail if answers else Timing().detail
    return Timing.model_validate({**summed, "detail": detail, "total_s": total_s})
