"""`molmo-point calibrate`: find out how sure a checkpoint may be, and write it beside the weights."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from molmo_point.evaluate.calibrate import Quality
    from molmo_point.evaluate.examples import Example

FIRST_SCENE = 30_000
"""Far from the scenes that `molmo-point eval` starts with: what is fitted here does not help there."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate")(calibrate)


def calibrate(
    model: Annotated[str, typer.Option(help="Model name or checkpoint folder.")] = "nano",
    examples: Annotated[
        Path | None,
        typer.Option(
            help="Your own questions, JSON Lines: "
            '{"image": "desk.png", "query": "mugs", "boxes": [[left, top, right, bottom], ...]} in pixels.'
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=2, help="Without --examples: held-out scenes to draw.")
    ] = 600,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each scene.")] = 4,
    out: Annotated[
        Path, typer.Option(help="Folder for calibration.json and reliability.png.")
    ] = Path(),
) -> None:
    """Fit on every other picture, measure on the rest, write calibration.json: put it beside the checkpoint's weights."""
    from rich.console import Console
    from rich.progress import Progress

    from molmo_point.api import load
    from molmo_point.engine.calibration import FILE
    from molmo_point.evaluate import calibrate as certainty
    from molmo_point.evaluate.reliability import draw_reliability

    pointer = load(model, calibrated=False)
    source = "questions of the user" if examples else f"{pictures} drawn scenes"
    samples = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("questions", total=None)
        for half in _halves(examples, pictures, questions):
            asked = _counted(half, lambda: bar.advance(task))
            samples.append(certainty.collect(pointer, asked))
    fitted = certainty.fit(samples[0], f"every other one of {source}")
    judged = certainty.apply(fitted, samples[1])
    quality = certainty.measure(judged)
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f"{FILE}.part"
    partial.write_text(fitted.model_dump_json(indent=1) + "\n", encoding="utf-8")
    partial.replace(out / FILE)
    draw_reliability(judged, quality, out / "reliability.png")
    typer.echo(_table(certainty.measure(samples[1]), quality))
    typer.echo(f"written: {out / FILE}, {out / 'reliability.png'}", err=True)


def _halves(
    path: Path | None, pictures: int, questions: int
) -> tuple[Iterable[Example], Iterable[Example]]:
    """Return what to fit on and what to measure on; no picture is in both."""
    if path is not None:
        from molmo_point.evaluate.labelled import read_labelled

        groups: dict[int, list[Example]] = {}
        for example in read_labelled(path):
            groups.setdefault(id(example.image), []).append(example)
        by_picture = list(groups.values())
        return chain(*by_picture[::2]), chain(*by_picture[1::2])
    from molmo_point.cli.eval import scene_examples
    from molmo_point.train.recipe import find_recipe

    style = find_recipe("nano").stages[-1].scenes[-1].style
    half = pictures // 2
    return (
        scene_examples(FIRST_SCENE, half, questions, style),
        scene_examples(FIRST_SCENE + half, pictures - half, questions, style),
    )


def _counted(examples: Iterable[Example], done: Callable[[], None]) -> Iterator[Example]:
    for example in examples:
        yield example
        done()


def _table(raw: Quality, calibrated: Quality) -> str:
    rows = [
        ("points judged (misses)", f"{calibrated.points} ({calibrated.misses})", ""),
        ("expected calibration error", *_both(raw, calibrated, "expected_calibration_error")),
        ("AUROC of the score, hit against miss", *_both(raw, calibrated, "auroc")),
        ("50 % ellipses cover", *_both(raw, calibrated, "coverage_50")),
        ("90 % ellipses cover", *_both(raw, calibrated, "coverage_90")),
        ("AUROC of absence", *_both(raw, calibrated, "absence_auroc")),
    ]
    lines = [f"| {name} | {now} | {before} |" for name, now, before in rows]
    return "\n".join(
        ["| measured on the other half | calibrated | raw |", "|---|---|---|", *lines]
    )


def _both(raw: Quality, calibrated: Quality, name: str) -> tuple[str, str]:
    return f"{getattr(calibrated, name):.3f}", f"{getattr(raw, name):.3f}"
