"""Fine-tuning runs on a golden twin with images of noise: what they write, resuming, refusals."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import molmo_point
from molmo_point import api
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.datasets import LabelledItem
from molmo_point.errors import UsageError
from molmo_point.model.weights import load_weights
from molmo_point.train import finetune as module
from molmo_point.train.data_loader import TrainingStopped
from molmo_point.train.finetune import FinetuneRun, finetune
from molmo_point.train.finetune_data import FinetuneData
from molmo_point.train.finetune_recipe import FinetuneRecipe
from molmo_point.train.packed_batches import LabelledBatches
from molmo_point.train.progress import Progress
from molmo_point.train.state import read_position

MODELS = Path(__file__).parents[1] / "golden" / "models"


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledItem]:
    """Four small images, each with three questions."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    found = []
    for index in range(4):
        path = folder / f"{index}.png"
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(path)
        found += [
            LabelledItem(path, "mugs", ((0.1 * index, 0.5), (0.9, 0.2))),
            LabelledItem(path, "boats", (), "count"),
            LabelledItem(path, "", mode="text", text="Noise of many colours."),
        ]
    return found


def recipe_of(**changes: Any) -> FinetuneRecipe:
    settings = {
        "base": str(MODELS / "tiny-d"),
        "rank": 2,
        "alpha": 4,
        "rates": {"vision": 1e-3, "connector": 1e-3, "decoder": 1e-3},
        "steps": 4,
        "batch": 2,
        "precision": "float32",
        "evaluate_every": 4,
        "save_every_s": 1e9,
    }
    return FinetuneRecipe.model_validate({**settings, **changes})


def data_of(items: list[LabelledItem]) -> FinetuneData:
    return FinetuneData([(items[:9], 1.0)], items[9:])


@pytest.fixture(scope="module")
def finished(items: list[LabelledItem], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "lora"
    finetune(recipe_of(), data_of(items), folder, workers=0)
    return folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    path = next(path for path in sorted((folder / "last").glob("*.safetensors")))
    return load_file(path)


def assert_same(one: Path, other: Path) -> None:
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_a_run_leaves_an_adapter_its_log_and_its_curves(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4]
    assert {"training_loss", "held_out_loss", "cpu_s", "best_step"} <= rows[0].keys()
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (finished / "best").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "finetune.json",
    }
    assert not list(finished.rglob("*.part"))


def test_the_adapter_loads_and_merges_into_what_was_trained(
    items: list[LabelledItem], finished: Path, tmp_path: Path
) -> None:
    run = FinetuneRun(recipe_of(), data_of(items), finished, torch.device("cpu"))
    loss = run.held_out_loss()
    api.merge(MODELS / "tiny-d", finished / "last", tmp_path / "merged")
    loaded = molmo_point.load(MODELS / "tiny-d", device="cpu", adapter=finished / "last")
    merged = molmo_point.load(tmp_path / "merged", device="cpu")
    base = molmo_point.load(MODELS / "tiny-d", device="cpu")
    for pointer in (loaded, merged):
        run.network.model = pointer.network
        assert run.held_out_loss() == pytest.approx(loss, rel=1e-5)
    run.network.model = base.network
    assert abs(run.held_out_loss() - loss) > 1e-3
    with pytest.raises(UsageError, match=r"holds an adapter.*molmo-point merge"):
        molmo_point.load(finished / "last")


def test_all_parameters_are_written_as_a_checkpoint(
    items: list[LabelledItem], tmp_path: Path
) -> None:
    recipe = recipe_of(base=str(MODELS / "tiny-moe"), method="all", parts=["decoder"])
    best = finetune(recipe, data_of(items), tmp_path / "run", workers=0)
    config = MolmoConfig.from_folder(best)
    trained, base = load_weights(best, config), load_weights(MODELS / "tiny-moe", config)
    changed = {
        name.split(".")[0]
        for name, tensor in trained.named_parameters()
        if not torch.equal(tensor, base.get_parameter(name))
    }
    assert changed == {"decoder"}
    with molmo_point.load(best, device="cpu") as pointer:
        assert pointer.point(np.zeros((48, 64, 3), np.uint8), "mug").timing.new_tokens > 0


@pytest.mark.parametrize("stops", [(1,), (3, 1)])
def test_a_run_that_was_stopped_ends_with_the_same_weights(
    items: list[LabelledItem], finished: Path, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    for steps in stops:
        finetune(recipe_of(), data_of(items), tmp_path, workers=0, stop_after=steps)
    finetune(recipe_of(), data_of(items), tmp_path, workers=1)
    assert_same(finished, tmp_path)
    assert (tmp_path / "log.jsonl").read_text().count("\n") == 1


def run_and_kill(run: Callable[[], object], started: Path, delay_s: float) -> None:
    """Run in a process of its own; kill it `delay_s` after it has written a file."""
    before = started.stat().st_mtime_ns if started.exists() else 0
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if started.exists() and started.stat().st_mtime_ns != before:
            break
        time.sleep(0.01)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_a_killed_run_ends_with_the_same_weights(
    items: list[LabelledItem], tmp_path: Path
) -> None:
    """SIGKILL at random times, among them while the state is written; with dropout, whose draws have to be the same, too."""
    torch.set_num_threads(1)
    recipe = recipe_of(method="all", steps=5, evaluate_every=2, save_every_s=0, dropout=0.1)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finetune(recipe, data_of(items), whole, workers=0)
    draw = random.Random(0)
    state = broken / "state.safetensors"
    for _ in range(3):
        run = functools.partial(finetune, recipe, data_of(items), broken, workers=0)
        run_and_kill(run, state, draw.uniform(0, 0.3))
    assert state.exists()
    finetune(recipe, data_of(items), broken, workers=0)
    assert_same(whole, broken)


TWO = """
import pickle, sys, torch
from molmo_point.train.finetune import finetune
from molmo_point.train.sharding import join_processes
torch.set_num_threads(1)
for recipe, data, folder in pickle.load(open(sys.argv[1], "rb")):
    finetune(recipe, data, folder, workers=0, processes=join_processes("cpu"))
"""


@pytest.mark.lengthy
def test_two_processes_learn_what_one_does(items: list[LabelledItem], tmp_path: Path) -> None:
    """The network sharded by torch's fully_shard over two gloo processes, the batch shared: same losses, same weights."""
    common = {"steps": 2, "evaluate_every": 1, "checkpointing": True}
    recipes = {method: recipe_of(method=method, **common) for method in ("lora", "all")}
    # The third resumes the first from its end: the sharded state is read, and nothing is trained.
    runs = [(recipes[m], data_of(items), tmp_path / "two" / m) for m in ("lora", "all", "lora")]
    (tmp_path / "two").mkdir()
    (tmp_path / "runs").write_bytes(pickle.dumps(runs))
    (tmp_path / "two.py").write_text(TWO)
    launch = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, "-m", *launch, str(tmp_path / "two.py"), str(tmp_path / "runs")],
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    for method, recipe in recipes.items():
        two, one = tmp_path / "two" / method, tmp_path / "one" / method
        one.parent.mkdir(exist_ok=True)
        finetune(recipe, data_of(items), one, workers=0)
        logs = [(folder / "log.jsonl").read_text().splitlines() for folder in (one, two)]
        for first, second in zip(*(map(json.loads, lines) for lines in logs), strict=True):
            for name in ("training_loss", "held_out_loss"):
                assert second[name] == pytest.approx(first[name], abs=2e-4), name
        theirs = weights_of(two)
        for name, tensor in weights_of(one).items():
            # AdamW's first steps have the size of the rate whatever the gradient's: rounding may turn one that is near 0.
            near = (tensor - theirs[name]).abs() < 1e-4
            assert near.float().mean() > 0.98, name


def test_another_setting_or_other_data_are_refused_in_the_folder(
    items: list[LabelledItem], finished: Path
) -> None:
    with pytest.raises(UsageError, match="a run with another rank"):
        finetune(recipe_of(rank=3), data_of(items), finished, workers=0)
    with pytest.raises(UsageError, match="a run with another data_print"):
        finetune(recipe_of(), FinetuneData([(items[:6], 1.0)]), finished, workers=0)
    assert finetune(recipe_of(), data_of(items), finished, workers=0) == finished / "best"


def test_a_folder_with_something_else_in_it_is_refused(
    items: list[LabelledItem], tmp_path: Path
) -> None:
    (tmp_path / "letters.txt").write_text("dear aunt")
    with pytest.raises(UsageError, match="holds no fine-tuning run"):
        finetune(recipe_of(), data_of(items), tmp_path, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_a_rate_that_diverges_stops_the_run_and_keeps_the_state(
    items: list[LabelledItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finetune(recipe_of(), data_of(items), tmp_path, workers=0, stop_after=1)
    before = (tmp_path / "state.safetensors").read_bytes()
    real = module.AnswerLoss.forward

    def diverged(self: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        answer, normalizer = real(self, batch)
        return answer * float("nan"), normalizer

    monkeypatch.setattr(module.AnswerLoss, "forward", diverged)
    with pytest.raises(TrainingStopped, match=r"the loss is nan at step 1: lower its rates"):
        finetune(recipe_of(), data_of(items), tmp_path, workers=0)
    assert (tmp_path / "state.safetensors").read_bytes() == before
    assert not (tmp_path / "best").exists()


def test_low_bits_and_other_families_adapters_are_refused(
    items: list[LabelledItem], finished: Path, tmp_path: Path
) -> None:
    api.write_quantized(MODELS / "tiny-d", tmp_path / "low", scheme="int8")
    with pytest.raises(UsageError, match="holds int8 weights, which cannot be trained"):
        finetune(recipe_of(base=str(tmp_path / "low")), data_of(items), tmp_path / "r", workers=0)
    with pytest.raises(UsageError, match="no adapter can be added"):
        molmo_point.load(tmp_path / "low", device="cpu", adapter=finished / "last")
    with pytest.raises(UsageError, match=r"layers that this checkpoint does not have.*tiny-d"):
        molmo_point.load(MODELS / "tiny-moe", device="cpu", adapter=finished / "last")
    with pytest.raises(UsageError, match="does not have"):
        api.merge(MODELS / "tiny-72b", finished / "last", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_image_that_cannot_be_read_is_counted(
    items: list[LabelledItem], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    said = io.StringIO()
    folder = tmp_path / "run"
    data = FinetuneData([([*items[:6], LabelledItem(broken, "mugs", ())], 1.0)])
    finetune(recipe_of(steps=3), data, folder, workers=0, progress=Progress(said, 0.0))
    position = read_position(folder)
    assert position is not None
    assert position.skipped == 2
    assert "1 image skipped: ImageError" in said.getvalue()
    assert (folder / "best").exists()


def test_absent_questions_and_mixtures(items: list[LabelledItem], tmp_path: Path) -> None:
    first = [LabelledItem(items[0].image, "mugs", ((0.5, 0.5),))]
    other = [LabelledItem(items[3].image, "pens", ((0.5, 0.5),))]
    config = MolmoConfig.from_folder(MODELS / "tiny-d").preprocess
    recipe = recipe_of(absent=1, batch=8)
    batch = LabelledBatches([(first + other, 1.0)], recipe, MODELS / "tiny-d", config).batch(0)
    assert batch.batch is not None
    # Each image is asked for what it shows, and for what only the other one shows.
    assert all(int(part.inputs.segments.max()) == 2 for part in batch.batch.parts)
    mixed = LabelledBatches([(first, 9.0), (other, 1.0)], recipe, MODELS / "tiny-d", config)
    drawn = [mixed._choose(p, np.random.default_rng(p))[0][0][0] for p in range(400)]
    assert drawn.count(first[0].image) / 400 == pytest.approx(0.9, abs=0.05)
