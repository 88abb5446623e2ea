"""`molmo-point eval`: accuracy of a model or a server on labelled images, or on held-out images that are rendered on the spot."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.atomic_write import write_atomic
from molmo_point.cli.progress import bar
from molmo_point.defaults import HTTP_PORT, ZMQ_PORT
from molmo_point.errors import UsageError
from molmo_point.synthetic.held_out import WORLDS, count_images, world_examples

if TYPE_CHECKING:
    from molmo_point.evaluate.report import Report
    from molmo_point.pointer import Pointer
    from molmo_point.synthetic.scenes.scene import Style

IMAGES_FACTOR = {"counting": 2, "icons": 4}
"""Test sets that get more images: few of theirs hold many things of a kind, or an icon."""


Data = Annotated[
    Path | None,
    typer.Argument(
        help="Labelled images: JSON Lines (.jsonl), COCO or Label Studio's export (.json), a table of points (.csv), or a "
        "benchmark as its owner publishes it (file or folder, see --layout). Without it, images are drawn.",
        show_default=False,
    ),
]
Reports = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[REPORTS]...",
        help="After the word compare instead of DATA: two reports (JSON) to compare question by question.",
        show_default=False,
    ),
]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="With DATA: write report.html (tables, plots, worst cases) and its twin report.json into this folder.",
    ),
]
ImagesFolder = Annotated[
    Path | None,
    typer.Option("--images", help="With DATA: folder of the images; by default that of the file."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="With DATA: leave out entries that cannot be used.")
]
LayoutName = Annotated[
    str | None,
    typer.Option(
        "--layout",
        help="With DATA: its layout, found out by default: coco, countbenchqa, json-lines, label-studio, pixmo-count, "
        "pixmo-points, point-bench, refspatial, robospatial, screenspot, screenspot-pro, screenspot-v2, table, tallyqa, "
        "where2place, yolo-pose.",
        show_default=False,
    ),
]
Connect = Annotated[
    str | None,
    typer.Option(help=f"Ask a server: tcp://HOST:{ZMQ_PORT} or http://HOST:{HTTP_PORT}."),
]
Recipe = Annotated[
    str,
    typer.Option(help="Recipe (a name or a JSON file) whose last stage says what 'scenes' draws."),
]
World = Annotated[
    str,
    typer.Option(
        "--world",
        "--worlds",
        help=f"Held-out test set: {', '.join(WORLDS)}. Pages need Chromium. With --table several, separated by commas.",
    ),
]
TableFolder = Annotated[
    Path | None,
    typer.Option(
        help="Run every test set (or those of --world); write table.json, table.md and a report of each into this folder."
    ),
]
Card = Annotated[Path | None, typer.Option(help="With --table: write the model's card here, too.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate_command)


def evaluate_command(
    data: Data = None,
    reports: Reports = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Model name, folder, or the address of a server."),
    ] = "nano",
    images_folder: ImagesFolder = None,
    skip_bad: SkipBad = False,
    layout: LayoutName = None,
    report: ReportFolder = None,
    connect: Connect = None,
    images: Annotated[
        int, typer.Option("--pictures", min=1, help="Images; 500 give +-2 %.")
    ] = 100,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each image.")] = 4,
    recipe: Recipe = "nano",
    world: World = "scenes",
    table: TableFolder = None,
    card: Card = None,
    first: Annotated[int, typer.Option(min=0, help="Number of the first held-out image.")] = 0,
    timeout_s: Annotated[
        float, typer.Option("--timeout", "--timeout-s", help="Seconds for each question.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the report as JSON here, too.")
    ] = None,
) -> None:
    """Ask questions with known answers, and score the points.

    About labelled images (DATA), or held-out images that are drawn. A point is right on the object's region, or, where only
    points are labelled, within 0.05 of the image's sides of one; each object counts once.

    \b
    molmo-point eval shelf.jsonl --model molmo-7b-d
    molmo-point eval annotations.json --images photos/ --connect tcp://gpu:5555 --out report.json
    molmo-point eval PointBench/ --model molmo-7b-d --report reports/7b-d
    molmo-point eval compare reports/7b-d/report.json reports/7b-d-int8/report.json
    molmo-point eval --pictures 500
    """
    from molmo_point.api import open_pointer
    from molmo_point.cli import eval_data

    if reports or str(data) == eval_data.COMPARE:
        eval_data.show_comparison(data, reports or [], as_json, out)
        return
    if card is not None and table is None:
        raise UsageError("--card is written from a table: add --table FOLDER")
    model = connect or model
    pointer = open_pointer(model)
    if data is not None:
        labelled = eval_data.read_data(data, images_folder, skip_bad, layout)
        made = eval_data.evaluate_data(pointer, labelled, data, timeout_s, report)
        eval_data.show_report(made, as_json, out)
        return
    from molmo_point.train.recipe import find_recipe

    style = find_recipe(recipe).stages[-1].scenes[-1].style
    plan = EvalPlan(images, questions, first, timeout_s, style)
    if table is not None:
        worlds = WORLDS if world in ("scenes", "all") else tuple(world.split(","))
        typer.echo(_write_table(pointer, worlds, plan, table))
        _write_card(model, table, card)
        return
    eval_data.show_report(plan.report(pointer, world), as_json, out)


def _write_card(model: str, table: Path, card: Path | None) -> None:
    if card is not None:
        from molmo_point.checkpoints.hub import resolve
        from molmo_point.cli.card import write_card

        write_card(resolve(model), table, card)


@dataclass(frozen=True)
class EvalPlan:
    """How much is asked.

    Attributes:
        images, questions, first, style: See `world_examples`; IMAGES_FACTOR multiplies images.
        timeout_s: For each question.
    """

    images: int
    questions: int
    first: int
    timeout_s: float
    style: Style

    def report(self, pointer: Pointer, world: str) -> Report:
        """Run one test set, with a progress bar on stderr."""
        from molmo_point.evaluate.run import evaluate

        images = self.images * IMAGES_FACTOR.get(world, 1)
        examples = world_examples(world, self.first, images, self.questions, self.style)
        # Closed here: a generator of pages holds a browser until it is closed.
        with closing(examples), bar() as shown:
            task = shown.add_task(f"{world}, images", total=images)
            reported = count_images(examples, lambda done: shown.update(task, completed=done))
            return evaluate(pointer, reported, timeout_s=self.timeout_s)


def _write_table(pointer: Pointer, worlds: tuple[str, ...], plan: EvalPlan, folder: Path) -> str:
    """Run all test sets and return the table as Markdown; what was measured before a failure stays on disk."""
    from molmo_point.evaluate.table import make_table

    folder.mkdir(parents=True, exist_ok=True)
    reports: dict[str, Report] = {}
    for world in worlds:
        reports[world] = plan.report(pointer, world)
        write_atomic(folder / f"{world}.json", reports[world].model_dump_json(indent=1) + "\n")
        made = make_table(pointer.model, reports)
        write_atomic(folder / "table.json", made.model_dump_json(indent=1) + "\n")
        write_atomic(folder / "table.md", made.markdown().rstrip() + "\n")
    return made.markdown()
