"""How well a model counts by the number of things, in one look and in tiles, and how often its 90 % intervals hold.

    python -m benchmarks.counting collect FILE [--part 0/2] [--seconds 400] [--model nano]
    python -m benchmarks.counting report FILE... [--calibration FOLDER]

`collect` asks about held-out scenes and appends one JSON object a line to FILE: the answer about the whole image, the tiles and
their answers. `--part` divides the scenes between processes; a file that is there is continued. `report` merges the tiles'
answers and prints the tables of docs/counting.md. `molmo-point calibrate-counts` reads the same files.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.report import hardware, table
from molmo_point.counting.interval import CountCalibration, read_count_calibration
from molmo_point.evaluate.count_samples import (
    BINS,
    SHARES,
    CountSample,
    Seams,
    joined_seams,
    read_looks,
    sample_of,
    scene_of,
    seams_of,
    write_looks,
)
from molmo_point.evaluate.scores import proportion
from molmo_point.points import Pointing
from molmo_point.train.recipe import find_recipe

STYLE = find_recipe("nano").stages[-1].scenes[-1].style
"""The kinds of things that `nano` was shown."""


def collect(path: Path, part: int, parts: int, seconds: float, model: str) -> None:
    """Ask about scenes until the time is over."""
    from molmo_point.api import load

    pointer = load(model)
    done = {(one.world, one.number) for one in read_looks([path])} if path.exists() else set()
    until = time.monotonic() + seconds
    for world, number in _scenes(part, parts):
        if (world, number) in done:
            continue
        if time.monotonic() > until:
            break
        write_looks(path, pointer, world, number, STYLE)


def _scenes(part: int, parts: int) -> Iterator[tuple[str, int]]:
    order = [world for world, share in SHARES.items() for _ in range(share)]
    numbers = dict.fromkeys(SHARES, 0)
    for world in itertools.cycle(order):
        number = numbers[world]
        numbers[world] += 1
        if number % parts == part:
            yield world, number


def report(paths: Sequence[Path], calibration: CountCalibration | None) -> None:
    """Print accuracy and coverage by number of things, for one look and for tiles, and what happened at seams."""
    rows = []
    seams: list[Seams] = []
    samples: dict[str, list[tuple[CountSample, Pointing]]] = {"whole": [], "tiles": []}
    for looks in read_looks(paths):
        for name, answer in (("whole", looks.whole), ("tiles", looks.combined())):
            samples[name].append((sample_of(answer, looks.things), answer))
        if looks.tiles:
            seams.append(seams_of(scene_of(looks, STYLE), looks))
    for low, high in BINS:
        for name, answers in samples.items():
            of_bin = [(s, a) for s, a in answers if low <= s.things <= high]
            rows.append([f"{low}-{high}", name, *_row(of_bin, calibration)])
    columns = [
        "things",
        "looks",
        "questions",
        "complete",
        "exact",
        "mean absolute error",
        "mean error",
        "interval holds",
        "mean width",
    ]
    table("Counts by number of things", columns, rows)
    total = joined_seams(seams)
    print(f"\nat seams: {total.things} things seen by more than one tile; counted twice "
          f"{proportion(total.doubled, total.things)}; pointed at in a tile, and lost by merging "
          f"{proportion(total.lost, total.things)}")  # fmt: skip
    print(hardware())


def _row(
    answers: Sequence[tuple[CountSample, Pointing]], calibration: CountCalibration | None
) -> list[str]:
    known = [(sample, answer) for sample, answer in answers if sample.complete]
    if not known:
        return [str(len(answers)), "0", *"-" * 5]
    errors = [answer.count - sample.things for sample, answer in known]
    exact = proportion(sum(error == 0 for error in errors), len(answers))
    cells = [
        str(len(answers)),
        str(len(known)),
        str(exact),
        f"{sum(map(abs, errors)) / len(known):.2f}",
        f"{sum(errors) / len(known):+.2f}",
    ]
    if calibration is None:
        return [*cells, "-", "-"]
    intervals = [calibration.with_interval(answer).count_interval for _, answer in known]
    held = [
        (low_high[0] <= sample.things <= low_high[1], low_high[1] - low_high[0])
        for (sample, _), low_high in zip(known, intervals, strict=True)
        if low_high is not None
    ]
    cells.append(str(proportion(sum(inside for inside, _ in held), len(held))))
    width = sum(width for _, width in held) / max(1, len(held))
    return [*cells, f"{width:.1f}"]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    asking = verbs.add_parser("collect")
    asking.add_argument("file", type=Path)
    asking.add_argument("--part", default="0/1")
    asking.add_argument("--seconds", type=float, default=400.0)
    asking.add_argument("--model", default="nano")
    telling = verbs.add_parser("report")
    telling.add_argument("files", type=Path, nargs="+")
    telling.add_argument("--calibration", type=Path)
    options = parser.parse_args()
    if options.verb == "collect":
        part, parts = map(int, options.part.split("/"))
        collect(options.file, part, parts, options.seconds, options.model)
    else:
        folder = options.calibration
        report(options.files, read_count_calibration(folder) if folder else None)


if __name__ == "__main__":
    main()
