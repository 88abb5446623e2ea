"""`molmo-point eval`: accuracy of a model or a server on held-out images that are rendered on the spot."""

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


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate_command)


def evaluate_command(
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Model name, folder, or the address of a server."),
    ] = "nano",
    connect: Annotated[
        str | None,
        typer.Option(help=f"Ask a server: tcp://HOST:{ZMQ_PORT} or http://HOST:{HTTP_PORT}."),
    ] = None,
    images: Annotated[
        int, typer.Option("--pictures", min=1, help="Images; 500 give +-2 %.")
    ] = 100,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each image.")] = 4,
    recipe: Annotated[
        str,
        typer.Option(
            help="Recipe (a name or a JSON file) whose last stage says what 'scenes' draws."
        ),
    ] = "nano",
    world: Annotated[
        str,
        typer.Option(
            "--world",
            "--worlds",
            help=f"Held-out test set: {', '.join(WORLDS)}. Pages need Chromium. With --table several, separated by commas.",
        ),
    ] = "scenes",
    table: Annotated[
        Path | None,
        typer.Option(
            help="Run every test set (or those of --world); write table.json, table.md and a report of each into this folder."
        ),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="With --table: write the model's card here, too.")
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="Number of the first held-out image.")] = 0,
    timeout_s: Annotated[
        float, typer.Option("--timeout", "--timeout-s", help="Seconds for each question.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the report as JSON here, too.")
    ] = None,
) -> None:
    """Ask questions with known answers about held-out images, and score the points."""
    from molmo_point.api import open_pointer
    from molmo_point.train.recipe import find_recipe

    if card is not None and table is None:
        raise UsageError("--card is written from a table: add --table FOLDER")
    model = connect or model
    pointer = open_pointer(model)
    style = find_recipe(recipe).stages[-1].scenes[-1].style
    plan = EvalPlan(images, questions, first, timeout_s, style)
    if table is not None:
        worlds = WORLDS if world in ("scenes", "all") else tuple(world.split(","))
        typer.echo(_write_table(pointer, worlds, plan, table))
        if card is not None:
            from molmo_point.checkpoints.hub import resolve
            from molmo_point.cli.card import write_card

            write_card(resolve(model), table, card)
        return
    report = plan.report(pointer, world)
    text = report.model_dump_json(indent=1)
    if out is not None:
        write_atomic(out, text + "\n")
    typer.echo(text if as_json else report.table())


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
