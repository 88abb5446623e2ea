"""Answers that count held-out scenes, in one look and in tiles, with the truth: the data of `fit_counts`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molmo_point.counting.grid import Tile
from molmo_point.counting.merge import merge
from molmo_point.counting.spacing import median_spacing
from molmo_point.counting.tiled import Looks, combined, looks_at
from molmo_point.points import Point, Pointing, Status

if TYPE_CHECKING:
    from molmo_point.engine.local import LocalPointer
    from molmo_point.examples import Example, Region
    from molmo_point.synthetic.scenes.scene import Style

BINS = ((0, 0), (1, 5), (6, 15), (16, 40), (41, 120), (121, 400))
"""(fewest, most) things of the groups that are reported."""

FIRST = 70_000
"""Number of the first scene, far from those of `molmo-point eval` and of `calibrate-scores`."""

SHARES = {"counting": 8, "crowds": 4, "crowds-120": 3, "crowds-400": 1}
"""Images of each test set among those that follow each other: few of those that take long."""

QUESTIONS = {"counting": 3, "crowds": 2, "crowds-120": 2, "crowds-400": 1}
FEWEST = {"counting": 0, "crowds": 0, "crowds-120": 16, "crowds-400": 41}
"""Questions about fewer things than this are not asked: other test sets have enough of them."""


@dataclass(frozen=True)
class CountSample:
    """One answer with the true number.

    Attributes:
        things: The true number.
        scores: Of the points, 0-1.
        spacing: Median distance of neighbours, as a share of the image's longer side; None below two points.
        complete: Whether the answer is complete, so that its count is known.
        tiled: Whether there were tiles.
    """

    things: int
    scores: tuple[float, ...]
    spacing: float | None
    complete: bool
    tiled: bool


@dataclass(frozen=True)
class SceneLooks:
    """All answers of one question about a held-out scene.

    Attributes:
        world, number, query: Which question it is.
        things: The true number.
    """

    world: str
    number: int
    query: str
    things: int
    whole: Pointing
    shape: tuple[int, int]
    tiles: tuple[tuple[Tile, Pointing], ...]
    seconds: float

    def combined(self) -> Pointing:
        """Return the merged answer of the tiles."""
        looks = Looks(self.whole, self.shape, self.tiles, 1 + len(self.tiles), self.seconds)
        return combined(looks)


@dataclass(frozen=True)
class Seams:
    """What merging did to the things that lie in more than one tile and that a tile pointed at.

    Attributes:
        things: How many there are.
        doubled: Of these, how many have more points in the merged answer than in the answer of any one tile.
        lost: Of these, how many have none.
    """

    things: int
    doubled: int
    lost: int


def sample_of(answer: Pointing, things: int) -> CountSample:
    """Return what an answer tells about the number of things, with the truth."""
    return CountSample(
        things,
        tuple(point.score for point in answer.points if point.score is not None),
        median_spacing(answer),
        answer.status in (Status.FOUND, Status.NOT_FOUND),
        answer.tiling is not None and answer.tiling.looks > 1,
    )


def examples_of(world: str, number: int, style: Style) -> list[Example]:
    """Draw a scene of a test set, of the kinds of things of a style, and return the questions about it."""
    from molmo_point.synthetic.held_out import world_examples

    drawn = world_examples(world, FIRST + number, 1, QUESTIONS[world], style)
    return [example for example in drawn if len(example.regions) >= FEWEST[world]]


def write_looks(path: Path, pointer: LocalPointer, world: str, number: int, style: Style) -> None:
    """Ask the questions about a scene, and append a line for each: the looks at the whole image and at its tiles."""
    import numpy as np

    for example in examples_of(world, number, style):
        looks = looks_at(pointer.look(example.query), np.asarray(example.image), "auto")
        line: dict[str, Any] = {
            "world": world,
            "number": number,
            "query": example.query,
            "things": len(example.regions),
            "whole": looks.whole.model_dump(mode="json"),
            "shape": looks.shape,
            "tiles": [
                [[t.left, t.top, t.right, t.bottom], answer.model_dump(mode="json")]
                for t, answer in looks.tiles
            ],
            "seconds": looks.seconds,
        }
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_looks(paths: Iterable[Path]) -> Iterator[SceneLooks]:
    """Read what `write_looks` wrote."""
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            one["whole"] = Pointing.model_validate(one["whole"])
            one["shape"] = (one["shape"][0], one["shape"][1])
            one["tiles"] = tuple(
                (Tile(*box), Pointing.model_validate(answer)) for box, answer in one["tiles"]
            )
            yield SceneLooks(**one)


def scene_of(looks: SceneLooks, style: Style) -> Example:
    """Draw the scene again, with the regions that answer."""
    examples = examples_of(looks.world, looks.number, style)
    return next(example for example in examples if example.query == looks.query)


def seams_of(example: Example, looks: SceneLooks) -> Seams:
    """Compare the tiles' points with the merged ones where tiles overlap."""
    merged = merge(looks.tiles, looks.whole.image_size).points
    width, height = looks.whole.image_size
    of_tiles = [_in_image(tile, answer, width, height) for tile, answer in looks.tiles]
    things = doubled = lost = 0
    for region in example.regions:
        x, y = region.center
        over = sum(
            tile.left <= x * width < tile.right and tile.top <= y * height < tile.bottom
            for tile, _ in looks.tiles
        )
        most = max(_on(points, region) for points in of_tiles)
        if over > 1 and most:
            on = _on(merged, region)
            things, doubled, lost = things + 1, doubled + (on > most), lost + (on == 0)
    return Seams(things, doubled, lost)


def _on(points: Sequence[Point], region: Region) -> int:
    return sum(region.contains(point.x, point.y) for point in points)


def joined_seams(parts: Sequence[Seams]) -> Seams:
    """Return the sums."""
    return Seams(
        sum(part.things for part in parts),
        sum(part.doubled for part in parts),
        sum(part.lost for part in parts),
    )


def _in_image(tile: Tile, answer: Pointing, width: int, height: int) -> list[Point]:
    return [
        Point(
            x=(tile.left + point.x * tile.width) / width,
            y=(tile.top + point.y * tile.height) / height,
        )
        for point in answer.points
    ]
