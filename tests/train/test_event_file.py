"""What TensorBoard reads of a run: losses and rates of every step once, also after a kill, and the evaluations."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from molmo_point.datasets import LabelledItem
from molmo_point.errors import MissingExtra
from molmo_point.train.finetune import FinetuneRun, finetune
from molmo_point.train.finetune_data import FinetuneData
from molmo_point.train.finetune_recipe import FinetuneRecipe
from molmo_point.train.loop import train
from molmo_point.train.recipe import Recipe

TWIN = Path(__file__).parents[1] / "golden" / "models" / "tiny-d"
RECIPE = FinetuneRecipe.model_validate(
    {
        "base": str(TWIN),
        "rank": 2,
        "rates": {"vision": 1e-3, "decoder": 1e-4},
        "parts": ["vision", "decoder"],
        "steps": 4,
        "batch": 1,
        "precision": "float32",
        "evaluate_every": 2,
        "warmup": 0.0,
        "save_every_s": 1e9,
    }
)


@pytest.fixture
def data(tmp_path: Path) -> FinetuneData:
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return FinetuneData([([LabelledItem(path, "mugs", ((0.1, 0.5),))], 1.0)])


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return {name: [(images, value), ...]}, as TensorBoard itself reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_steps_and_evaluations_of_a_finetuning_run(data: FinetuneData, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finetune(RECIPE, data, folder, workers=0, tensorboard=True)
    found = read(folder)
    assert [images for images, _ in found["loss/answer"]] == [1, 2, 3, 4]
    assert found["rate/vision"][0][1] == pytest.approx(10 * found["rate/decoder"][0][1])
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows] == [2, 4]
    losses = dict(found["evaluation/training_loss"])
    for row in rows:
        assert losses[row["images"]] == pytest.approx(row["training_loss"], abs=1e-5)
    mean = (found["loss/answer"][0][1] + found["loss/answer"][1][1]) / 2
    assert rows[0]["training_loss"] == pytest.approx(mean, abs=1e-4)


def test_a_resumed_run_shows_each_step_once(data: FinetuneData, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finetune(RECIPE, data, folder, workers=0, tensorboard=True, stop_after=1)
    # What a process did after its last saved state is done again: its events are not shown twice.
    killed = FinetuneRun(RECIPE, data, folder, torch.device("cpu"), tensorboard=True)
    killed.save = lambda: None  # type: ignore[method-assign]
    killed.go(0, 2, lambda: False)
    killed.close()
    finetune(RECIPE, data, folder, workers=0, tensorboard=True)
    assert [images for images, _ in read(folder)["loss/answer"]] == [1, 2, 3, 4]


def test_a_run_of_a_recipe(tmp_path: Path, make_recipe: Callable[[], Recipe]) -> None:
    recipe = make_recipe()
    train(recipe, tmp_path, workers=0, steps=2, tensorboard=True)
    found = read(tmp_path)
    assert {name.split("/")[0] for name in found} == {"loss", "rate"}
    for name, values in found.items():
        if name.startswith("loss/"):
            assert [images for images, _ in values] == [
                recipe.stages[0].batch,
                2 * recipe.stages[0].batch,
            ]
            assert all(math.isfinite(value) for _, value in values)


def test_without_tensorboard_the_message_says_what_to_install(
    data: FinetuneData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtra, match=r"--tensorboard needs .*train"):
        finetune(RECIPE, data, tmp_path / "run", workers=0, tensorboard=True)
