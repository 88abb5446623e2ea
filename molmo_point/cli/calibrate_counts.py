"""`molmo-point calibrate-counts`: fit the intervals of counts of a checkpoint to held-out scenes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.atomic_write import write_atomic
from molmo_point.cli.progress import progress

if TYPE_CHECKING:
    from molmo_point.counting.interval import CountModel
    from molmo_point.evaluate.count_samples import CountSample

ANSWERS = "count_answers.jsonl"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate-counts")(calibrate_counts)


def calibrate_counts(
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model name or checkpoint folder.")
    ] = "nano",
    images: Annotated[
        int, typer.Option(min=0, help="Images of the smallest crowds; of larger ones fewer.")
    ] = 160,
    answers: Annotated[
        list[Path] | None,
        typer.Option(help="Answers of `python -m benchmarks.counting collect`; repeatable."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for count_calibration.json and the answers."),
    ] = Path(),
) -> None:
    """Fit the 90 % intervals of counts on half of the held-out scenes, and measure them on the other half.

    Put count_calibration.json beside the checkpoint's weights and its calibration.json, whose scores it uses. Answers are kept in
    count_answers.jsonl: the same command asks only what was not asked before.
    """
    from molmo_point.counting.interval import FILE, CountCalibration
    from molmo_point.evaluate.count_samples import SHARES, read_looks, sample_of
    from molmo_point.evaluate.fit_counts import MIN_SAMPLES, fit_counts

    out.mkdir(parents=True, exist_ok=True)
    paths = list(answers or [])
    if images:
        _ask(model, images, out / ANSWERS)
        paths.append(out / ANSWERS)
    halves: dict[bool, tuple[list[CountSample], list[CountSample]]] = {
        False: ([], []),
        True: ([], []),
    }
    scenes = set()
    for looks in read_looks(paths):
        scenes.add((looks.world, looks.number))
        half = looks.number // 2 % 2
        halves[False][half].append(sample_of(looks.whole, looks.things))
        tiled = sample_of(looks.combined(), looks.things)
        if tiled.tiled:
            halves[True][half].append(tiled)
    whole = fit_counts(halves[False][0])
    enough = sum(sample.complete for sample in halves[True][0]) >= MIN_SAMPLES
    tiles = fit_counts(halves[True][0]) if enough else None
    asked = ", ".join(SHARES)
    calibration = CountCalibration(
        whole=whole, tiles=tiles, measured_on=f"half of {len(scenes)} drawn scenes of {asked}"
    )
    write_atomic(out / FILE, calibration.model_dump_json(indent=1) + "\n")
    _print(whole, tiles, halves[False][1], halves[True][1])
    sys.stderr.write(f"written: {out / FILE}\n")


def _ask(model: str, images: int, path: Path) -> None:
    from molmo_point.api import load
    from molmo_point.evaluate.count_samples import SHARES, read_looks, write_looks
    from molmo_point.train.recipe import find_recipe

    done = {(one.world, one.number) for one in read_looks([path])} if path.exists() else set()
    most = max(SHARES.values())
    scenes = [
        (world, number)
        for world, share in SHARES.items()
        for number in range(-(-images * share // most))
        if (world, number) not in done
    ]
    if not scenes:
        return
    style = find_recipe("nano").stages[-1].scenes[-1].style
    pointer = load(model)
    for world, number in progress(scenes, "scenes", quiet=False):
        write_looks(path, pointer, world, number, style)


def _print(
    whole: CountModel,
    tiles: CountModel | None,
    of_whole: Sequence[CountSample],
    of_tiles: Sequence[CountSample],
) -> None:
    from molmo_point.evaluate.fit_counts import coverage

    typer.echo("| looks | things | 90 % intervals hold | mean width |\n|---|---|---|---|")
    for name, model, samples in (("whole image", whole, of_whole), ("tiles", tiles, of_tiles)):
        for group in coverage(model, samples) if model is not None else ():
            typer.echo(
                f"| {name} | {group.fewest}-{group.most} | {group.inside} | {group.width:.1f} |"
            )
