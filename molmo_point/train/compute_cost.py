"""What a model cost: CPU-seconds and pictures of every stage it went through, those of the run it began from included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from molmo_point.errors import UsageError
from molmo_point.train.export import write_json
from molmo_point.train.recipe import Recipe
from molmo_point.train.state import TrainPosition

COST_FILE = "cost.json"


def write_cost(recipe: Recipe, place: TrainPosition, folder: Path, *others: Path) -> None:
    """Write cost.json into the run's folder, and into others, such as its checkpoint.

    Args:
        folder: The run's own folder: what came before it stands in its cost.json of the beginning, see `start_cost`.
    """
    before = [row for row in read_cost(folder) if row["run"] != recipe.name]
    finished = zip(place.finished_cpu_s, place.finished_samples, strict=True)
    spent = [*finished, (place.cpu_s, place.samples)]
    rows = [
        {"run": recipe.name, "stage": stage.name, "cpu_s": round(cpu_s), "pictures": samples}
        for stage, (cpu_s, samples) in zip(recipe.stages, spent, strict=False)
        if samples
    ]
    for place_of_it in (folder, *others):
        write_json(place_of_it / COST_FILE, before + rows)


def start_cost(start: Path, folder: Path) -> None:
    """Take over what the start cost, where it says so."""
    rows = read_cost(start)
    if rows:
        write_json(folder / COST_FILE, rows)


def read_cost(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a folder's cost.json: run, stage, cpu_s, pictures; none where there is no such file."""
    path = folder / COST_FILE
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [
            {
                "run": row["run"],
                "stage": row["stage"],
                "cpu_s": row["cpu_s"],
                "pictures": row["pictures"],
            }
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is damaged ({error}): remove it, the cost is then unknown"
        ) from error
