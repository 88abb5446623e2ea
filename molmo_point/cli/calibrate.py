"""`molmo-point calibrate`: find out how sure a checkpoint may be, and write it beside the weights."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.atomic_write import write_atomic
from molmo_point.cli.waiting import bar
from molmo_point.errors import UsageError
from molmo_point.synthetic.held_out import WORLDS, count_images, world_examples
from molmo_point.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.progress import TaskID

    from molmo_point.evaluate.calibrate import Quality, Samples
    from molmo_point.evaluate.kept import KeptAnswers
    from molmo_point.examples import Example
    from molmo_point.pointer import Pointer

FIRST = 30_000
"""Far from the pictures that `molmo-point eval` starts with: what is fitted here does not help there."""

MIXTURE = ",".join(world for world in WORLDS if world != "crowds")
"""What a model of our own is used for; the many points of crowds would outweigh all others."""

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
    app.command("calibrate")(calibrate)


def calibrate(
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model name or checkpoint folder.")
    ] = "nano",
    examples: Annotated[
        Path | None,
        typer.Option(
            help="Your own questions, JSON Lines: "
            '{"image": "desk.png", "query": "mugs", "boxes": [[left, top, right, bottom], ...]} in pixels.'
        ),
    ] = None,
    worlds: Annotated[
        str,
        typer.Option(
            "--worlds",
            "--world",
            help=f"Without --examples: which held-out pictures, by commas, of {', '.join(WORLDS)}. "
            "Pages are drawn without Chromium where there is none.",
        ),
    ] = MIXTURE,
    pictures: Annotated[
        int, typer.Option(min=2, help="Without --examples: pictures of each world.")
    ] = 300,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each picture.")] = 4,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for calibration.json, reliability.png and the answers."
        ),
    ] = Path(),
) -> None:
    """Fit on half of the pictures, measure on the other half, write calibration.json: put it beside the checkpoint's weights.

    Answers to --examples are kept in answers.jsonl; the same command asks only what was not answered yet. Half of the questions
    are fitted on: 20 right points are needed there at least, and for all that can be fitted also 20 wrong ones, 20 questions
    about what is absent and 20 about what is there.
    """
    from molmo_point.api import load
    from molmo_point.engine.score_calibration import FILE
    from molmo_point.evaluate import calibrate as certainty
    from molmo_point.evaluate.fit_calibration import LEAST, fit, lacking
    from molmo_point.evaluate.kept import KEPT_FILE, KeptAnswers
    from molmo_point.evaluate.reliability import draw_reliability

    halves = _own(examples) if examples else _drawn(worlds.split(","), pictures, questions)
    totals = _announce(halves) if examples else dict.fromkeys(halves[0], pictures // 2)
    if not examples:
        total = pictures * len(halves[0])
        sys.stderr.write(
            f"{counted(total, 'drawn image')}, at most {counted(total * questions, 'question')}\n"
        )
    source = "questions of the user" if examples else f"{pictures} drawn pictures each of {worlds}"
    pointer = load(model, calibrated=False)
    kept = KeptAnswers(out / KEPT_FILE, pointer.model) if examples else None
    if kept:
        sys.stderr.write(f"answers kept in {out / KEPT_FILE}: {len(kept)}\n")
    first, second = (_collect(pointer, half, totals, kept) for half in halves)
    fitted_on = certainty.joined(first.values())
    if few := lacking(fitted_on):
        counts = ", ".join(f"{count} {name}" for name, count in few.items())
        sys.stderr.write(f"few to fit on: {counts}; with {LEAST} of each more is fitted\n")
    fitted = fit(fitted_on, f"every other one of {source}")
    judged = {name: certainty.apply(fitted, samples) for name, samples in second.items()}
    mixture = certainty.joined(judged.values())
    quality = certainty.measure(mixture)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / FILE, fitted.model_dump_json(indent=1) + "\n")
    draw_reliability(mixture, quality, out / "reliability.png", parts=judged)
    raw = certainty.measure(certainty.joined(second.values()))
    each = {name: certainty.measure(samples) for name, samples in judged.items()}
    typer.echo(_table(raw, quality, each))
    typer.echo(f"written: {out / FILE}, {out / 'reliability.png'}", err=True)


def _collect(
    pointer: Pointer,
    worlds: Mapping[str, Iterable[Example]],
    totals: Mapping[str, int],
    kept: KeptAnswers | None,
) -> dict[str, Samples]:
    """Ask every question, with a bar on stderr that counts pictures."""
    from molmo_point.evaluate.calibrate import collect

    samples = {}
    with bar() as shown:
        for name, asked in worlds.items():
            task = shown.add_task(f"{name}, pictures", total=totals[name])

            def tell(done: int, task: TaskID = task) -> None:
                shown.update(task, completed=done)

            samples[name] = collect(pointer, count_images(asked, tell), kept)
    return samples


def _announce(halves: Halves) -> dict[str, int]:
    """Say what will be asked, before a model is loaded; return the pictures of each half.

    Raises:
        UsageError: However well the model answers, there will be too few right points to fit on.
    """
    from molmo_point.evaluate.fit_calibration import LEAST

    first = list(halves[0][OWN])
    second = list(halves[1][OWN])
    halves[0][OWN], halves[1][OWN] = first, second
    there = sum(len(example.regions) for example in first)
    absent = sum(not example.regions for example in first)
    sys.stderr.write(
        f"{counted(len(first) + len(second), 'question')}; fitted on {len(first)}, with {there} things that are there and "
        f"{absent} questions about what is absent; at least {LEAST} right points are needed, with {LEAST} wrong ones and {LEAST} "
        "absent questions more is fitted\n"
    )
    if there < LEAST:
        raise UsageError(
            f"expected at least {LEAST} of each to fit on, got {there} things that are there in half of the questions: add more"
        )
    return {OWN: len({id(example.image) for example in first})}


Halves = tuple[dict[str, "Iterable[Example]"], dict[str, "Iterable[Example]"]]
"""What to fit on and what to measure on, by world; no picture is in both."""


def _own(path: Path) -> Halves:
    """The questions of a file, picture by picture in turn."""
    from molmo_point.evaluate.jsonl_dataset import read_labelled

    groups: dict[int, list[Example]] = {}
    for example in read_labelled(path):
        groups.setdefault(id(example.image), []).append(example)
    by_picture = list(groups.values())
    return {OWN: chain(*by_picture[::2])}, {OWN: chain(*by_picture[1::2])}


def _drawn(worlds: list[str], pictures: int, questions: int) -> Halves:
    """Held-out pictures of each world, the first half and the second."""
    from molmo_point.train.recipe import find_recipe

    style = find_recipe("nano").stages[-1].scenes[-1].style

    def some(first: int, count: int) -> dict[str, Iterable[Example]]:
        return {
            world: world_examples(world, first, count, questions, style, spare=True)
            for world in worlds
        }

    half = pictures // 2
    return some(FIRST, half), some(FIRST + half, pictures - half)


def _table(raw: Quality, calibrated: Quality, each: Mapping[str, Quality]) -> str:
    """Columns: all together calibrated and raw, then each world, where there are several."""
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
