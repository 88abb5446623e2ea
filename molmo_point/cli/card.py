"""A model's card, written from the reports of its evaluation."""

from __future__ import annotations

import json
import textwrap
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from molmo_point.atomic_write import write_atomic
from molmo_point.errors import UsageError

if TYPE_CHECKING:
    from molmo_point.evaluate.report import Report
    from molmo_point.evaluate.table import Table

WIDTH = 130
NOTES_FILE = "notes.json"
"""In the model's folder: the texts {"history": "...", "limits": "..."}, both Markdown."""


def write_card(model: Path, reports: Path, out: Path) -> None:
    """Write the card of a model.

    Args:
        model: The checkpoint's folder.
        reports: The folder written by `molmo-point eval --table`.
        out: The file to write.

    Raises:
        UsageError: A file is missing or damaged; names it.
    """
    from molmo_point.evaluate.report import Report
    from molmo_point.evaluate.table import Table

    try:
        table = Table.model_validate_json((reports / "table.json").read_text(encoding="utf-8"))
        scenes = reports / "scenes.json"
        report = (
            Report.model_validate_json(scenes.read_text(encoding="utf-8"))
            if scenes.exists()
            else None
        )
        text = wrapped(_card(model, table, report))
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"the card cannot be written from {reports} and {model}: {error}; fill the folder with molmo-point eval --table"
        ) from error
    write_atomic(out, text)


def wrapped(text: str) -> str:
    """Wrap paragraphs at WIDTH columns; headings, lists, tables and code stay as they are."""
    blocks = []
    for block in text.split("\n\n"):
        plain = not block.lstrip("\n").startswith(("#", "|", "- ", "    "))
        lines = textwrap.wrap(block, WIDTH, break_long_words=False, break_on_hyphens=False)
        blocks.append("\n".join(lines) if plain else block)
    return "\n\n".join(blocks).rstrip() + "\n"


def _card(model: Path, table: Table, report: Report | None) -> str:
    from molmo_point.checkpoints.config import MolmoConfig
    from molmo_point.model.weights import parameter_count
    from molmo_point.train.compute_cost import read_cost

    notes = json.loads((model / NOTES_FILE).read_text(encoding="utf-8"))
    cost = read_cost(model)
    size = (model / "model.safetensors").stat().st_size
    template = resources.files(__package__).joinpath("card_template.md")
    return Template(template.read_text(encoding="utf-8")).substitute(
        parameters=f"{parameter_count(MolmoConfig.from_folder(model)) / 1e6:.1f}",
        size=f"{size / 1e6:.1f}",
        **_known(model),
        limits=notes["limits"],
        history=notes["history"],
        cost="\n".join(
            f"| {row['run']} | {row['stage']} | {row['cpu_s']} | {row['pictures']} |"
            for row in cost
        ),
        total=round(sum(row["cpu_s"] for row in cost) / 60),
        table=table.markdown().rstrip(),
        speed="\n".join(
            f"| {world} | {table.pictures[world]} | {table.questions[world]} | {table.seconds[world]:.3f} |"
            for world in table.pictures
        ),
        groups=_groups(report),
    )


def _known(model: Path) -> dict[str, str]:
    """Return the kinds that the last stage draws, as text."""
    from molmo_point.synthetic.scenes.kinds import COLOURS, all_kinds, kinds_named
    from molmo_point.train.recipe import read_recipe

    stage = read_recipe(model / "training.json").stages[-1]
    styles = [mix.style for mix in stage.scenes if mix.page is None and mix.photographs is None]
    everything = tuple(k for k in all_kinds() if k.family not in ("control", "icon"))
    names = {kind.name for style in styles for kind in kinds_named(style.kinds)}
    if any(not style.kinds for style in styles):
        names = {kind.name for kind in everything}
    kinds = [kind for kind in everything if kind.name in names]
    return {
        "kinds": str(len(kinds)),
        "emoji": ", ".join(kind.name for kind in kinds if not kind.coloured),
        "colours": f"{len(COLOURS)} colours ({', '.join(COLOURS)})",
        "coloured": ", ".join(kind.name for kind in kinds if kind.coloured),
    }


def _groups(report: Report | None) -> str:
    if report is None:
        return "| - | - | - | - |"
    return "\n".join(
        f"| {name} | {score.questions} | {score.perfect} | {'-' if score.f1 is None else format(score.f1, '.3f')} |"
        for name, score in sorted(report.groups.items())
    )
