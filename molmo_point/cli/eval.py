"""`molmo-point eval`: how well something points, on held-out scenes that are drawn on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from molmo_point.evaluate.examples import Example
    from molmo_point.train.scenes.scene import Style


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate_command)


def evaluate_command(
    model: Annotated[
        str, typer.Option(help="Model name, folder, or the address of a server.")
    ] = "nano",
    pictures: Annotated[int, typer.Option(min=1, help="Scenes to draw; 500 gives +-2 %.")] = 100,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each scene.")] = 4,
    recipe: Annotated[
        str,
        typer.Option(help="Draw what this recipe's last stage trains on (a name or a JSON file)."),
    ] = "nano",
    first: Annotated[int, typer.Option(min=0, help="Number of the first held-out scene.")] = 0,
    timeout_s: Annotated[float, typer.Option(help="Seconds for each question.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the report as JSON here, too.")] = None,
) -> None:
    """Ask questions about held-out scenes and score the points."""
    from rich.console import Console
    from rich.progress import Progress

    import molmo_point
    from molmo_point.evaluate.run import evaluate
    from molmo_point.train.recipe import find_recipe

    pointer = (molmo_point.connect if "://" in model else molmo_point.load)(model)
    style = find_recipe(recipe).stages[-1].scenes[-1].style
    examples = scene_examples(first, pictures, questions, style)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("questions", total=None)
        report = evaluate(
            pointer, examples, timeout_s=timeout_s, progress=lambda _: bar.advance(task)
        )
    text = report.model_dump_json(indent=1)
    if out is not None:
        partial = out.with_name(out.name + ".part")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(out)
    typer.echo(text if as_json else report.table())


def scene_examples(first: int, pictures: int, questions: int, style: Style) -> Iterator[Example]:
    """Draw held-out scenes and questions about them.

    Args:
        first: Number of the first scene; scene n is the same for ever.
        pictures: How many scenes: two of 320x240, then one of 640x480, and so on.
        questions: Most questions about each scene.
        style: What is drawn, but for the size.
    """
    from dataclasses import replace

    import numpy as np

    from molmo_point.evaluate.examples import Example, Mask
    from molmo_point.train.scenes.questions import QuestionStyle, draw_questions
    from molmo_point.train.scenes.scene import draw_scene
    from molmo_point.train.seeds import held_out_seed

    for index in range(first, first + pictures):
        size = (640, 480) if index % 3 == 2 else (320, 240)
        scene = draw_scene(held_out_seed(index), replace(style, sizes=(size,)))
        rng = np.random.default_rng([scene.seed, 2, 0])
        # As the commands ask; other wordings are for training.
        asked = draw_questions(scene, rng, questions, QuestionStyle(plain=1.0))
        for question in asked:
            yield Example(
                image=scene.image,
                query=question.query,
                regions=[Mask(scene.region(target)) for target in question.targets],
                mode=question.mode,
                group=f"{question.form}, {question.mode}",
            )
