"""`molmo-point calibrate-counts`: fit the intervals of counts of a checkpoint to held-out scenes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.atomic_write import write_atomic
from molmo_point.cli.progress import progress

if TYPE_CHECKING:
    from molmo_point.evaluate.count_samples import CountSample

Halves = tuple[list["CountSample"], list["CountSample"]]

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
    """Fit the 90 % intervals of counts on held-out scenes; each half is measured with what was fitted on the other.

    Put count_calibration.json beside the checkpoint's weights and its calibration.json, whose scores it uses. Answers are kept in
    count_answers.jsonl: the same command asks only what was not asked before.
    """
    from molmo_point.counting.interval import FILE, CountCalibration
    from molmo_point.evaluate.count_samples import SHARES, read_looks, sample_of
    from molmo_point.evaluate.fit_counts import fit_counts

    out.mkdir(parents=True, exist_ok=True)
    paths = list(answers or [])
    if images:
        _ask(model, images, out / ANSWERS)
        paths.append(out / ANSWERS)
    whole: Halves = ([], [])
    tiled: Halves = ([], [])
    scenes = set()
    for looks in read_looks(paths):
        scenes.add((looks.world, looks.number))
        # By scene: questions about one image belong together. Parts of `collect` are by the lowest bit.
        half = looks.number // 2 % 2
        whole[half].append(sample_of(looks.whole, looks.things))
        sample = sample_of(looks.combined(), looks.things)
        if sample.tiled:
            tiled[half].append(sample)
    typer.echo("| looks | things | 90 % intervals hold | mean width |\n|---|---|---|---|")
    _measure("whole image", whole)
    enough = _measure("tiles", tiled)
    calibration = CountCalibration(
        whole=fit_counts([*whole[0], *whole[1]]),
        tiles=fit_counts([*tiled[0], *tiled[1]]) if enough else None,
        measured_on=f"{len(scenes)} drawn scenes of {', '.join(SHARES)}",
    )
    write_atomic(out / FILE, calibration.model_dump_json(indent=1) + "\n")
    sys.stderr.write(f"written: {out / FILE}\n")


def _measure(name: str, halves: Halves) -> bool:
    """Print how often intervals hold on the half that they were not fitted on; return whether there were enough answers."""
    from molmo_point.evaluate.fit_counts import MIN_SAMPLES, coverage, fit_counts, held_out

    if min(sum(sample.complete for sample in half) for half in halves) < MIN_SAMPLES:
        sys.stderr.write(
            f"{name}: fewer than {MIN_SAMPLES} complete answers in a half: not fitted\n"
        )
        return False
    models = [fit_counts(half) for half in halves]
    for group in coverage(held_out(models, halves)):
        typer.echo(
            f"| {name} | {group.fewest}-{group.most} | {group.inside} | {group.width:.1f} |"
        )
    return True


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
