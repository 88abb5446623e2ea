"""Whose run folder is it: this recipe's own, empty, or another's."""

from __future__ import annotations

from pathlib import Path

from molmo_point.errors import UsageError
from molmo_point.train.data_loader import TrainingStopped
from molmo_point.train.export import write_json
from molmo_point.train.recipe import Recipe, read_recipe
from molmo_point.train.state import TrainPosition, read_place
from molmo_point.train.vocabulary import build_tokenizer, save_tokenizer


def open_run_folder(recipe: Recipe, folder: Path) -> TrainPosition:
    """Make the folder this recipe's own, or find out where its run is.

    Raises:
        UsageError: It belongs to another recipe. Stages that have not begun may differ: plans change while a run goes on.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = read_place(folder)
        if place is not None:
            known = read_recipe(folder / "recipe.json")
            begun = place.stage + (1 if place.batch else 0)
            if (known.model, known.seed, known.start) != (
                recipe.model,
                recipe.seed,
                recipe.start,
            ) or (known.stages[:begun] != recipe.stages[:begun]):
                raise UsageError(
                    f"{folder} holds the run of another recipe ('{known.name}'; sizes, seed, start or a stage that has "
                    "begun differ): give another folder"
                )
        elif any(folder.iterdir()) and not (folder / "recipe.json").exists():
            raise UsageError(f"{folder} is not empty and no training run: give another folder")
        write_json(folder / "recipe.json", recipe.model_dump(mode="json"))
        if place is None:
            save_tokenizer(build_tokenizer(), folder)
        return place or TrainPosition()
    except OSError as error:
        raise TrainingStopped(f"the run folder {folder} cannot be written: {error}") from error
