"""Open a run's folder: a new one, or that of a run of the same recipe."""

from __future__ import annotations

from pathlib import Path

from molmo_point.errors import UsageError
from molmo_point.train.data_loader import TrainingStopped
from molmo_point.train.export import write_json
from molmo_point.train.recipe import Recipe, read_recipe
from molmo_point.train.state import TrainPosition, read_position
from molmo_point.train.vocabulary import build_tokenizer, save_tokenizer


def open_run_folder(recipe: Recipe, folder: Path) -> TrainPosition:
    """Create the folder with recipe and tokenizer, or return the position of the run in it.

    Raises:
        UsageError: It belongs to another recipe. Stages that have not begun may differ.
        TrainingStopped: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        position = read_position(folder)
        if position is not None:
            known = read_recipe(folder / "recipe.json")
            begun = position.stage + (1 if position.batch else 0)
            if (known.model, known.seed, known.start) != (
                recipe.model,
                recipe.seed,
                recipe.start,
            ) or (known.stages[:begun] != recipe.stages[:begun]):
                raise UsageError(
                    f"{folder} holds the run of another recipe ('{known.name}'; sizes, seed, start or a stage that has "
                    "begun differ): expected the recipe in its recipe.json, or another folder"
                )
        elif any(folder.iterdir()) and not (folder / "recipe.json").exists():
            raise UsageError(
                f"{folder} is not empty and holds no training run: give another folder"
            )
        write_json(folder / "recipe.json", recipe.model_dump(mode="json"))
        if position is None:
            save_tokenizer(build_tokenizer(), folder)
        return position or TrainPosition()
    except OSError as error:
        raise TrainingStopped(f"the run folder {folder} cannot be written: {error}") from error
