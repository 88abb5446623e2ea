"""The training cost of a model: CPU-seconds and images of each stage, including those of the run it started from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from molmo_point.errors import UsageError
from molmo_point.train.export import write_json
from molmo_point.train.recipe import Recipe
from molmo_point.train.state import TrainPosition
from molmo_point.train.warm_start import start_folder

COST_FILE = "cost.json"


def write_cost(recipe: Recipe, position: TrainPosition, folder: Path, *others: Path) -> None:
    """Write cost.json into the run's folder, and into others such as its checkpoint.

    Args:
        folder: The run's folder; its cost.json holds the cost before this run, see `start_cost`.
    """
    before = [row for row in read_cost(folder) if row["run"] != recipe.name]
    finished = zip(position.finished_cpu_s, position.finished_samples, strict=True)
    spent = [*finished, (position.cpu_s, position.samples)]
    rows = [
        {"run": recipe.name, "stage": stage.name, "cpu_s": round(cpu_s), "pictures": samples}
        for stage, (cpu_s, samples) in zip(recipe.stages, spent, strict=False)
        if samples
    ]
    for target in (folder, *others):
        write_json(target / COST_FILE, before + rows)


def start_cost(start: str, folder: Path) -> None:
    """Copy the cost of the start, where it has a cost.json."""
    rows = read_cost(start_folder(start))
    if rows:
        write_json(folder / COST_FILE, rows)


def read_cost(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a folder's cost.json (run, stage, cpu_s, images); an empty list where there is none."""
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
            f"{path} is damaged ({error}): expected rows of run, stage, cpu_s and images; remove it to count the cost from here"
        ) from error
