"""`molmo-point calibrate-scores`: fit the scores and covariances of a checkpoint to known answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Union

import typer

from molmo_point.atomic_write import write_atomic
from molmo_point.cli.calibrate_domain import DomainOnly, Foreign, Halves, MeasureDomain
from molmo_point.cli.model_options import ModelSelection
from molmo_point.cli.progress import bar
from molmo_point.errors import UsageError
from molmo_point.synthetic.held_out import WORLDS, count_images, world_examples
from molmo_point.wording import counted

if TYPE_CHECKING:
    from rich.progress import TaskID

    from molmo_point.datasets import LabelledItem
    from molmo_point.engine.score_calibration import Calibration
    from molmo_point.evaluate.answer_cache import AnswerCache
    from molmo_point.evaluate.score_quality import Quality, Samples
    from molmo_point.examples import Example
    from molmo_point.pointer import Pointer

FIRST = 30_000
"""Number of the first image, far from those of `molmo-point eval`: calibration must not be measured on what it was fitted on."""

UNFITTED = FIRST + 20_000
"""Number of the first image of --measure-domain, far from those that calibrations are fitted on."""

MIXTURE = ",".join(world for world in WORLDS if world != "crowds")
"""The default test sets; the many points of crowds would outweigh all others."""

OWN = "own questions"

MEASURES = {
    "expected calibration error": "expected_calibration_error",
    "AUROC of the score, hit against miss": "auroc",
    "50 % ellipses cover": "coverage_50",
    "90 % ellipses cover": "coverage_90",
    "AUROC of absence": "absence_auroc",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate-scores")(calibrate_scores)


Examples = Annotated[
    Union[Path, None],
    typer.Option(
        "--examples",
        help="Your own questions, in any layout that `eval` reads; as JSON Lines: "
        '{"image": "table.png", "query": "mugs", "boxes": [[left, top, right, bottom], ...]} in pixels, or "points".',
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="With --examples: leave out entries that cannot be used."),
]


def calibrate_scores(
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model name or checkpoint folder.")
    ] = "nano",
    examples: Examples = None,
    skip_bad: SkipBad = False,
    worlds: Annotated[
        str,
        typer.Option(
            "--worlds",
            "--world",
            help=f"Without --examples: held-out test sets, separated by commas, of {', '.join(WORLDS)}. "
            "Pages are drawn without Chromium where it is not installed.",
        ),
    ] = MIXTURE,
    images: Annotated[
        int, typer.Option("--pictures", min=2, help="Without --examples: images of each test set.")
    ] = 300,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each image.")] = 4,
    foreign: Foreign = None,
    domain_only: DomainOnly = False,
    measure_domain: MeasureDomain = False,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for calibration.json, reliability.png and the answers."
        ),
    ] = Path(),
) -> None:
    """Fit scores and covariances on half of the images, measure them on the other half, write calibration.json.

    Put calibration.json beside the checkpoint's weights. Answers to --examples are saved in answers.jsonl: the same command asks
    only what was not answered before. Fitting needs at least 20 right points; with 20 wrong points, 20 questions about absent
    things and 20 about present ones, everything is fitted. (`molmo-calibrate` calibrates cameras.)
    """
    from molmo_point.api import load
    from molmo_point.cli.calibrate_domain import digest, with_domain
    from molmo_point.evaluate.answer_cache import ANSWERS_FILE, AnswerCache
    from molmo_point.evaluate.score_quality import joined

    own_items = None if examples is None else _read(examples, skip_bad=skip_bad)
    if measure_domain or domain_only:
        own = _halves(own_items, worlds, images, 1, UNFITTED if measure_domain else FIRST)
        _only_domain(model, own, foreign, questions, None if measure_domain else out)
        return
    halves = _halves(own_items, worlds, images, questions)
    totals = _announce(halves) if examples else dict.fromkeys(halves[0], images // 2)
    if not examples:
        total = images * len(halves[0])
        sys.stderr.write(
            f"{counted(total, 'drawn image')}, at most {counted(total * questions, 'question')}\n"
        )
    source = "questions of the user" if examples else f"{images} drawn images each of {worlds}"
    pointer = load(model, calibrated=False)
    identity = json.dumps(ModelSelection(model).identity(pointer.model))
    kept = AnswerCache(out / ANSWERS_FILE, identity) if examples else None
    if kept:
        sys.stderr.write(f"answers kept in {out / ANSWERS_FILE}: {len(kept)}\n")
    first, second = (_collect(pointer, half, totals, kept) for half in halves)
    calibration = _fitted(joined(first.values()), f"every other one of {source}")
    calibration = calibration.model_copy(update={"weights": digest(pointer)})
    if foreign is not None:
        own = _halves(own_items, worlds, images, 1)
        calibration = with_domain(calibration, pointer, own, foreign, questions)
    _write(calibration, second, out)


def _halves(
    items: Sequence[LabelledItem] | None,
    worlds: str,
    images: int,
    questions: int,
    start: int = FIRST,
) -> Halves:
    """Return the user's examples, or drawn ones from number `start`: the first half and the second."""
    if items is not None:
        return _own(items)
    return _rendered(worlds.split(","), images, questions, start)


def _only_domain(
    model: str, own: Halves, foreign: Path | None, questions: int, out: Path | None
) -> None:
    """Fit the domain and write it to `out`; None measures the stored one."""
    from molmo_point.cli.calibrate_domain import measure_stored, write_domain

    if out is None:
        measure_stored(model, own[0], foreign, questions)
    else:
        write_domain(model, own, foreign, questions, out)


def _fitted(samples: Samples, measured_on: str) -> Calibration:
    """Return the calibration fitted to one half; say on stderr what there are few of."""
    from molmo_point.evaluate.fit_calibration import MIN_SAMPLES, fit_calibration, lacking

    if few := lacking(samples):
        counts = ", ".join(f"{count} {name}" for name, count in few.items())
        sys.stderr.write(f"few to fit on: {counts}; with {MIN_SAMPLES} of each more is fitted\n")
    return fit_calibration(samples, measured_on)


def _write(calibration: Calibration, measured_on: Mapping[str, Samples], out: Path) -> None:
    """Write calibration and plots, and print the table of the second half, by test set."""
    from molmo_point.engine.score_calibration import FILE
    from molmo_point.evaluate.reliability import draw_reliability
    from molmo_point.evaluate.score_quality import apply, joined, measure

    calibrated = {name: apply(calibration, samples) for name, samples in measured_on.items()}
    mixture = joined(calibrated.values())
    quality = measure(mixture)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / FILE, calibration.model_dump_json(indent=1) + "\n")
    draw_reliability(mixture, quality, out / "reliability.png", parts=calibrated)
    raw = measure(joined(measured_on.values()))
    each = {name: measure(samples) for name, samples in calibrated.items()}
    typer.echo(_table(raw, quality, each))
    typer.echo(f"written: {out / FILE}, {out / 'reliability.png'}", err=True)


def _collect(
    pointer: Pointer,
    worlds: Mapping[str, Iterable[Example]],
    totals: Mapping[str, int],
    kept: AnswerCache | None,
) -> dict[str, Samples]:
    """Ask every question, with a progress bar on stderr that counts images."""
    from molmo_point.evaluate.score_quality import collect

    samples = {}
    with bar() as shown:
        for name, asked in worlds.items():
            task = shown.add_task(f"{name}, images", total=totals[name])

            def tell(done: int, task: TaskID = task) -> None:
                shown.update(task, completed=done)

            samples[name] = collect(pointer, count_images(asked, tell), kept)
    return samples


def _announce(halves: Halves) -> dict[str, int]:
    """Print what will be asked, before a model is loaded; return the number of images of each half.

    Raises:
        UsageError: The questions cannot give enough right points to fit on.
    """
    from molmo_point.evaluate.fit_calibration import MIN_SAMPLES

    first = list(halves[0][OWN])
    second = list(halves[1][OWN])
    halves[0][OWN], halves[1][OWN] = first, second
    present = sum(len(example.regions) for example in first)
    absent = sum(not example.regions for example in first)
    sys.stderr.write(
        f"{counted(len(first) + len(second), 'question')}; fitted on {len(first)}, with {counted(present, 'present thing')} and "
        f"{counted(absent, 'question')} about absent ones; at least {MIN_SAMPLES} right points are needed, with {MIN_SAMPLES} "
        f"wrong ones and {MIN_SAMPLES} absent questions more is fitted\n"
    )
    if present < MIN_SAMPLES:
        raise UsageError(
            f"expected at least {MIN_SAMPLES} present things to fit on, got {present} in half of the questions: add questions"
        )
    return {OWN: len({id(example.image) for example in first})}


def _read(path: Path, *, skip_bad: bool) -> Sequence[LabelledItem]:
    """Return the user's questions; say what was left out."""
    from molmo_point.datasets import read_labelled

    data = read_labelled(path, skip_bad=skip_bad)
    for skipped in data.skipped:
        sys.stderr.write(f"left out: {skipped}\n")
    return data.items


def _own(items: Sequence[LabelledItem]) -> Halves:
    """Return the questions of a user; their images go to the two halves in turn."""
    from molmo_point.datasets.regions import labelled_examples

    groups: dict[int, list[Example]] = {}
    for example in labelled_examples(items):
        groups.setdefault(id(example.image), []).append(example)
    by_image = list(groups.values())
    return {OWN: chain(*by_image[::2])}, {OWN: chain(*by_image[1::2])}


def _rendered(worlds: list[str], images: int, questions: int, start: int = FIRST) -> Halves:
    """Return held-out images of each test set from number `start`, the first half and the second."""
    from molmo_point.train.recipe import find_recipe

    style = find_recipe("nano").stages[-1].scenes[-1].style

    def examples(first: int, count: int) -> dict[str, Iterable[Example]]:
        return {
            world: world_examples(world, first, count, questions, style, fallback=True)
            for world in worlds
        }

    half = images // 2
    return examples(start, half), examples(start + half, images - half)


def _table(raw: Quality, calibrated: Quality, each: Mapping[str, Quality]) -> str:
    """Return a Markdown table: all test sets calibrated, all raw, then each test set where there are several."""
    worlds = each if len(each) > 1 else {}
    columns = [calibrated, raw, *worlds.values()]
    rows = [
        "| measured on the other half | calibrated | raw |"
        + "".join(f" {name} |" for name in worlds),
        "|---" * (1 + len(columns)) + "|",
        "| points judged (misses) |" + "".join(f" {q.points} ({q.misses}) |" for q in columns),
    ]
    rows += [
        f"| {title} |" + "".join(f" {getattr(quality, name):.3f} |" for quality in columns)
        for title, name in MEASURES.items()
    ]
    return "\n".join(rows)
