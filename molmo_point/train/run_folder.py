"""Open a run's folder: a new one, or that of a run of the same recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from molmo_point.checkpoints.folder import fingerprint
from molmo_point.datasets import LabelledItem
from molmo_point.errors import UsageError
from molmo_point.train.data_loader import TrainingStopped
from molmo_point.train.export import write_json
from molmo_point.train.finetune_recipe import FinetuneRecipe
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


FINETUNE_FILE = "finetune.json"


def open_finetune_folder(
    recipe: FinetuneRecipe,
    base: Path,
    data: Sequence[tuple[Sequence[LabelledItem], float]],
    folder: Path,
    *,
    writes: bool = True,
) -> tuple[FinetuneRecipe, TrainPosition]:
    """Create the folder of a fine-tuning run, or return the position of the run in it.

    Args:
        base: Folder of the checkpoint.
        data: Training items, with their weights in the mixture.
        writes: Whether this process writes.

    Returns:
        The recipe with the fingerprints of checkpoint and data, and the position.

    Raises:
        UsageError: It holds something else, or a run with other settings, data or another checkpoint.
        TrainingStopped: It cannot be written.
    """
    recipe = recipe.model_copy(
        update={"base_print": fingerprint(base), "data_print": _data_print(data)}
    )
    path = folder / FINETUNE_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        position = read_position(folder)
        if position is not None:
            known = FinetuneRecipe.model_validate(json.loads(path.read_text(encoding="utf-8")))
            old, new = known.learning(), recipe.learning()
            differing = [name for name in new if old[name] != new[name]]
            if differing:
                raise UsageError(
                    f"{folder} holds a run with another {', '.join(differing)}: give the settings of its {FINETUNE_FILE}, or "
                    "another folder"
                )
        elif any(folder.iterdir()) and not path.exists():
            raise UsageError(
                f"{folder} is not empty and holds no fine-tuning run: give another folder"
            )
        if writes:
            write_json(path, recipe.model_dump(mode="json"))
    except OSError as error:
        raise TrainingStopped(f"the run folder {folder} cannot be written: {error}") from error
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{path} does not belong to a fine-tuning run: give another folder"
        ) from error
    return recipe, position or TrainPosition()


def _data_print(data: Sequence[tuple[Sequence[LabelledItem], float]]) -> str:
    """Return digits that change with the labels."""
    digest = hashlib.blake2b(digest_size=16)
    for items, weight in data:
        digest.update(repr(weight).encode())
        for item in items:
            image = item.image.name if isinstance(item.image, Path) else item.image
            digest.update(repr((image, item.query, item.points, item.mode, item.text)).encode())
    return digest.hexdigest()
