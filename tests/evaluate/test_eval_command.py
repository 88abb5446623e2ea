"""`molmo-point eval` and `molmo-point train` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import molmo_point
from molmo_point.cli import eval as eval_command
from molmo_point.cli import train as train_command
from molmo_point.testing import FakePointer
from molmo_point.train.recipe import find_recipe
from molmo_point.train.scenes.fonts import MissingFont, emoji_font

try:
    emoji_font()
except MissingFont as error:
    pytest.skip(str(error), allow_module_level=True)

STYLE = find_recipe("nano").stages[-1].scenes[-1].style


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    eval_command.register(app)
    train_command.register(app)
    return app


def test_scenes_come_in_both_sizes_and_stay_the_same() -> None:
    one, other = (list(eval_command.scene_examples(0, 3, 4, STYLE)) for _ in range(2))
    assert [e.query for e in one] == [e.query for e in other]
    assert {np.asarray(e.image).shape for e in one} == {(240, 320, 3), (480, 640, 3)}
    # Other pictures begin where these end.
    more = list(eval_command.scene_examples(2, 1, 4, STYLE))
    assert [e.query for e in more] == [e.query for e in one if np.asarray(e.image).shape[0] == 480]


def test_a_perfect_pointer_scores_one(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake that is told the truth: each answer is the middle pixel of each region."""
    truth = {}
    for example in eval_command.scene_examples(0, 4, 3, STYLE):
        points = []
        for region in example.regions:
            rows, columns = np.nonzero(region.inside)
            height, width = region.inside.shape
            middle = len(rows) // 2
            points.append(((columns[middle] + 0.5) / width, (rows[middle] + 0.5) / height))
        truth[np.asarray(example.image).tobytes(), example.query] = points
    fake = FakePointer(lambda image, query: truth[image.tobytes(), query])
    monkeypatch.setattr(molmo_point, "load", lambda _name: fake)
    result = CliRunner().invoke(app, ["eval", "--pictures", "4", "--questions", "3", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["overall"]["f1"] == 1.0
    assert report["overall"]["perfect"]["right"] == report["overall"]["questions"] == len(truth)
    assert report["overall"]["absent"]["total"] > 0
    assert report["pictures"] == 4


def test_a_blind_pointer_finds_nothing(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(molmo_point, "connect", lambda _url: FakePointer())
    out = tmp_path / "report.json"
    arguments = ["eval", "--model", "tcp://nowhere:1", "--pictures", "3", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "F1 of points on the asked things   0.000" in result.stdout
    overall = json.loads(out.read_text())["overall"]
    assert overall["denied"]["right"] == overall["denied"]["total"] > 0
    assert overall["absent"]["right"] == overall["absent"]["total"] > 0


def test_train_takes_one_step_and_says_where(app: typer.Typer, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    recipe = find_recipe("nano")
    stage = recipe.stages[0].model_copy(update={"batch": 1, "scenes": recipe.stages[0].scenes[:1]})
    small = recipe.model_copy(update={"stages": (stage,), "check_pictures": 0})
    path = tmp_path / "recipe.json"
    path.write_text(small.model_dump_json())
    arguments = ["train", str(path), "--folder", str(folder), "--workers", "0", "--steps", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(folder / "checkpoint")
    assert (folder / "state.safetensors").exists()
