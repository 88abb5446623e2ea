"""The package's small models side by side on the held-out test sets: shares with Wilson intervals, floors and goals.

    python -m benchmarks.small_models nano nano-ui --pictures 260
    python -m benchmarks.small_models nano runs/nano-ui/checkpoint --worlds pages,pages-640 --miniwob 50 --out tables

Every image is drawn once and shown to all models. What is measured so far is printed after each test set. --out keeps a folder
for each model with table.json and a report of each test set, which `benchmarks.training_curve` and the writer of cards read.
MiniWoB++ (`--miniwob SEEDS`): the eight one-point tasks, plain screenshots.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.report import hardware, table
from molmo_point.api import open_pointer
from molmo_point.atomic_write import write_atomic
from molmo_point.cli.eval import IMAGES_FACTOR
from molmo_point.errors import UsageError
from molmo_point.evaluate.report import Report
from molmo_point.evaluate.run import evaluate
from molmo_point.evaluate.scores import Proportion, proportion
from molmo_point.evaluate.table import Table, make_table, measured
from molmo_point.examples import Example
from molmo_point.pointer import Pointer
from molmo_point.synthetic.held_out import PAGES, SCENES, WORLDS, world_examples
from molmo_point.train.recipe import find_recipe

CHUNK = 40
"""Examples that are drawn before the models are asked, one after the other."""

FLOOR_MINIWOB, GOAL_MINIWOB = 0.45, 0.90


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    pointers = {name: open_pointer(name) for name in asked.models}
    reports: dict[str, dict[str, Report]] = {name: {} for name in asked.models}
    wins: dict[str, Proportion] = {}
    for world in asked.worlds.split(","):
        for name, report in compare(pointers, world, asked.pictures, asked.first).items():
            reports[name][world] = report
        tables = {name: make_table(name, made) for name, made in reports.items()}
        if asked.out is not None:
            for name in asked.models:
                _keep(asked.out / Path(name).name, reports[name], tables[name])
        _print(tables, wins)
    if asked.miniwob:
        for name, pointer in pointers.items():
            wins[name] = play_miniwob(pointer, asked.miniwob)
        _print({name: make_table(name, made) for name, made in reports.items()}, wins)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{used.ru_utime + used.ru_stime:.0f} CPU-seconds, Chromium's not counted")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.small_models", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("models", nargs="+", help="names, folders, or addresses of servers")
    parser.add_argument("--pictures", type=int, default=260, help="images of a test set")
    parser.add_argument("--first", type=int, default=0, help="number of the first image")
    parser.add_argument("--worlds", default=",".join(PAGES), help="of " + ", ".join(WORLDS))
    parser.add_argument("--miniwob", type=int, default=0, help="seeds of each task; 0: not played")
    parser.add_argument("--out", type=Path, help="folder for tables and reports")
    asked = parser.parse_args()
    unknown = set(asked.worlds.split(",")) - {*SCENES, *PAGES}
    if unknown or asked.pictures < 1:
        parser.error(f"expected test sets among {', '.join(WORLDS)} and at least one image")
    if len({Path(name).name for name in asked.models}) < len(asked.models) and asked.out:
        parser.error("--out needs models whose last names differ")
    return asked


def compare(
    pointers: dict[str, Pointer], world: str, images: int, first: int = 0
) -> dict[str, Report]:
    """Ask all models the same questions; four about each image.

    Args:
        images: Before IMAGES_FACTOR.
        first: Number of the first image.
    """
    style = find_recipe("nano").stages[-1].scenes[-1].style
    count = images * IMAGES_FACTOR.get(world, 1)
    parts: dict[str, list[Report]] = {name: [] for name in pointers}
    with closing(world_examples(world, first, count, 4, style)) as examples:
        for chunk in _whole_images(examples):
            for name, pointer in pointers.items():
                parts[name].append(evaluate(pointer, chunk))
            done = sum(part.pictures for part in parts[next(iter(pointers))])
            print(f"{world}: {done} of {count} images", file=sys.stderr, flush=True)
    return {name: _joined(made) for name, made in parts.items()}


def _whole_images(examples: Iterator[Example]) -> Iterator[list[Example]]:
    """Yield at least CHUNK examples at a time, all questions about an image together."""
    chunk: list[Example] = []
    for example in examples:
        if len(chunk) >= CHUNK and example.image is not chunk[-1].image:
            yield chunk
            chunk = []
        chunk.append(example)
    if chunk:
        yield chunk


def _joined(parts: Sequence[Report]) -> Report:
    """Return the report of all questions."""
    from molmo_point.evaluate.report import report

    if not parts:
        raise UsageError("the test set has no questions")
    outcomes = [outcome for part in parts for outcome in part.outcomes]
    return report(parts[0].model, sum(part.pictures for part in parts), outcomes)


def play_miniwob(pointer: Pointer, seeds: int) -> Proportion:
    """Play the eight one-point tasks of MiniWoB++, and return the share of episodes that were won."""
    from molmo_agents.bench.miniwob.bench import play_all, policy_for
    from molmo_agents.bench.miniwob.command import SCREEN
    from molmo_agents.bench.miniwob.pages import MiniwobPages
    from molmo_agents.bench.miniwob.tasks import TIERS
    from molmo_agents.browser.launch import open_page
    from molmo_agents.sync_pointer import WebPointer

    with (
        MiniwobPages() as pages,
        open_page(SCREEN) as page,
        WebPointer(page, pointer, policy_for(pages)) as web,
    ):
        won = [score.success for score in play_all(web, pages, TIERS["A"], range(seeds))]
    return proportion(sum(won), len(won))


def _keep(folder: Path, reports: dict[str, Report], made: Table) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for world, report in reports.items():
        write_atomic(folder / f"{world}.json", report.model_dump_json(indent=1) + "\n")
    write_atomic(folder / "table.json", made.model_dump_json(indent=1) + "\n")


def _print(tables: dict[str, Table], wins: dict[str, Proportion]) -> None:
    rows: list[list[str]] = []
    for row in zip(*(made.rows for made in tables.values()), strict=True):
        bounds = (_bound(row[0].floor), _bound(row[0].goal))
        rows.append([row[0].world, row[0].what, *map(measured, row), *bounds])
    if wins:
        rates = [str(wins[name]) for name in tables]
        rows.append(
            [
                "MiniWoB++",
                "one-point tasks won",
                *rates,
                _bound(FLOOR_MINIWOB),
                _bound(GOAL_MINIWOB),
            ]
        )
    table(hardware(), ["test set", "measure", *tables, "floor", "goal"], rows)


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
