"""Ending a run from outside, and pages by Chromium in the process that draws."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from molmo_point.cli.app import build
from molmo_point.synthetic.pages.browser import NAMES, PageBrowser
from molmo_point.synthetic.pages.draw import PageStyle
from molmo_point.synthetic.splits import training_seed
from molmo_point.train import loop
from molmo_point.train.data_loader import load_batches
from molmo_point.train.loop import train
from molmo_point.train.recipe import MixtureEntry, Recipe
from molmo_point.train.run_folder import open_run_folder
from molmo_point.train.scene_batches import SampleGenerator
from molmo_point.train.state import read_position

MakeRecipe = Callable[..., Recipe]


def test_a_run_that_is_asked_to_stop_saves_and_goes_on_exactly(
    tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    asked = iter([False, False, True])
    train(make_recipe(), tmp_path / "halted", workers=0, stop=lambda: next(asked))
    place = read_position(tmp_path / "halted")
    assert place is not None
    assert (place.stage, place.batch) == (0, 2)
    train(make_recipe(), tmp_path / "halted", workers=0)
    train(make_recipe(), tmp_path / "whole", workers=0)
    one, other = (load_file(tmp_path / name / "state.safetensors") for name in ("halted", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_end_programs_only_ask_to_stop(
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_recipe: MakeRecipe,
) -> None:
    asked = []

    def pretended(*_: object, stop: Callable[[], bool], **__: object) -> Path:
        asked.append(stop())
        os.kill(os.getpid(), number)
        asked.append(stop())
        return tmp_path

    monkeypatch.setattr(loop, "train", pretended)
    recipe = tmp_path / "recipe.json"
    recipe.write_text(make_recipe().model_dump_json())
    before = signal.getsignal(number)
    result = CliRunner().invoke(build(), ["train", str(recipe), "--folder", str(tmp_path)])
    assert result.exit_code == 130, result.output
    assert asked == [False, True]
    assert signal.getsignal(number) is before


def test_the_process_that_draws_outlives_the_signal_meant_for_all(
    tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    """Service managers send it to every process; the one that trains must still be able to save."""
    recipe = make_recipe()
    open_run_folder(recipe, tmp_path)
    batches = load_batches(
        SampleGenerator(0, recipe.stages[0], tmp_path, recipe.model.config(10, 8).preprocess), 0, 1
    )
    assert next(batches).batch is not None
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGTERM)
    for _ in range(6):  # more than were drawn ahead
        assert next(batches).batch is not None
    assert worker.is_alive()
    batches.close()  # type: ignore[attr-defined]
    worker.join(30)
    assert not worker.is_alive()


def test_pages_by_chromium_are_drawn_in_the_worker(
    tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    """What a worker hands over is the page that a browser here shows; held-out looks need no browser."""
    pytest.importorskip("playwright", exc_type=ImportError)
    if not any(map(shutil.which, NAMES)):
        pytest.skip(f"no Chromium (looked for {', '.join(NAMES)})")
    recipe = make_recipe()
    open_run_folder(recipe, tmp_path)
    page = PageStyle(sizes=((96, 80),), text=(10, 12), chromium=True)
    stage = recipe.stages[0].model_copy(update={"scenes": (MixtureEntry(page=page),), "batch": 1})
    config = recipe.model.config(10, 8).preprocess
    generator = SampleGenerator(0, stage, tmp_path, config)
    batches = load_batches(generator, 3, 1)
    drawn = next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert drawn.batch is not None, drawn.reason
    with PageBrowser() as browser:
        scene = browser.draw(training_seed(0, stage.name, 3), page)
    assert torch.equal(drawn.batch.inputs.crops, torch.from_numpy(generator.image(scene).crops))
    held_out = SampleGenerator(0, stage, tmp_path, config, held_out=True)
    assert len(held_out.scene(0).writings) > 0
    assert held_out._browser is None
