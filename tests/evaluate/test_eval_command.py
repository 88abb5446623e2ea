"""`molmo-point eval` and `molmo-point train` as a user types them."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import molmo_point
import molmo_point.api
from molmo_point.cli import eval as eval_command
from molmo_point.cli import train as train_command
from molmo_point.cli.card import write_card
from molmo_point.errors import UsageError
from molmo_point.evaluate.run import evaluate
from molmo_point.evaluate.table import Table, make_table
from molmo_point.examples import Example
from molmo_point.synthetic import held_out as worlds
from molmo_point.synthetic.held_out import scene_examples
from molmo_point.synthetic.pages.browser import NAMES
from molmo_point.synthetic.scenes.fonts import MissingFont, emoji_font
from molmo_point.synthetic.scenes.kinds import kinds_named
from molmo_point.testing import FakePointer
from molmo_point.train.recipe import find_recipe

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
    one, other = (list(scene_examples(0, 3, 4, STYLE)) for _ in range(2))
    assert [e.query for e in one] == [e.query for e in other]
    assert {np.asarray(e.image).shape for e in one} == {(240, 320, 3), (480, 640, 3)}
    # Other images begin where these end.
    more = list(scene_examples(2, 1, 4, STYLE))
    assert [e.query for e in more] == [e.query for e in one if np.asarray(e.image).shape[0] == 480]


def right_points(example: Example) -> list[tuple[float, float]]:
    """The middle pixel of each region."""
    points = []
    for region in example.regions:
        rows, columns = np.nonzero(region.inside)
        height, width = region.inside.shape
        middle = len(rows) // 2
        points.append(((columns[middle] + 0.5) / width, (rows[middle] + 0.5) / height))
    return points


def test_a_perfect_pointer_scores_one(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake that is told the truth: each answer is the middle pixel of each region."""
    truth = {}
    for example in scene_examples(0, 4, 3, STYLE):
        truth[np.asarray(example.image).tobytes(), example.query] = right_points(example)
    fake = FakePointer(lambda image, query: truth[image.tobytes(), query])
    monkeypatch.setattr(molmo_point.api, "load", lambda _name: fake)
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
    monkeypatch.setattr(molmo_point.api, "connect", lambda _url: FakePointer())
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
    # Stopped by --steps before its end: no success, and no name of a folder that is not there.
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert not (folder / "checkpoint").exists()
    assert "there is no checkpoint yet; the same command resumes" in result.stderr
    assert "at most" in result.stderr
    assert (folder / "state.safetensors").exists()


def perfect_pointer(world: str, images: int) -> FakePointer:
    """Answers each question of a world with the middle pixel of each region.

    Images are told apart by their look, not by their bytes: one browser's antialiasing need not be another's.
    """
    truth: dict[str, list[tuple[np.ndarray, list[tuple[float, float]]]]] = {}
    with closing(worlds.world_examples(world, 0, images, 3, STYLE)) as examples:
        for example in examples:
            image = np.asarray(example.image)
            truth.setdefault(example.query, []).append((image, right_points(example)))

    def answer(image: np.ndarray, query: str) -> list[tuple[float, float]]:
        alike = [pair for pair in truth[query] if pair[0].shape == image.shape]
        return min(alike, key=lambda pair: np.abs(pair[0] - image.astype(float)).mean())[1]

    return FakePointer(answer)


def test_the_table_is_written_with_a_report_for_each_world(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = perfect_pointer("things", 4)
    monkeypatch.setattr(molmo_point.api, "load", lambda _name: fake)
    arguments = ["eval", "--pictures", "4", "--questions", "3", "--world", "things"]
    result = CliRunner().invoke(app, [*arguments, "--table", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    table = Table.model_validate_json((tmp_path / "out" / "table.json").read_text())
    f1, *_ = table.rows
    assert (f1.what, f1.value, f1.reached) == ("F1 of points on the asked things", 1.0, "goal")
    assert (tmp_path / "out" / "table.md").read_text() == result.stdout.rstrip("\n") + "\n"
    assert json.loads((tmp_path / "out" / "things.json").read_text())["pictures"] == 4


def test_pages_by_chromium_can_be_asked_about(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(map(shutil.which, NAMES)):
        pytest.skip(f"no Chromium (looked for {', '.join(NAMES)})")
    fake = perfect_pointer("pages-unseen", 2)
    monkeypatch.setattr(molmo_point.api, "load", lambda _name: fake)
    arguments = [
        "eval",
        "--pictures",
        "2",
        "--questions",
        "3",
        "--world",
        "pages-unseen",
        "--json",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    overall = json.loads(result.stdout)["overall"]
    assert overall["questions"] >= 4
    assert overall["perfect"]["right"] == overall["questions"]


def test_counting_asks_for_counts_of_small_things() -> None:
    examples = list(worlds.world_examples("counting", 0, 6, 3, STYLE))
    assert {example.mode for example in examples} == {"count"}
    assert max(len(example.regions) for example in examples) > 5


def test_crowds_ask_for_counts_of_many_things() -> None:
    examples = list(worlds.world_examples("crowds", 0, 9, 3, STYLE))
    assert {example.mode for example in examples} == {"count"}
    assert 16 <= max(len(example.regions) for example in examples) <= 40


def test_a_world_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="expected one of scenes, things"):
        worlds.world_examples("moon", 0, 1, 1, STYLE)


def test_the_card_is_written_from_the_table(tmp_path: Path) -> None:
    """From reports of a fake and nano's own folder: every number of the table stands in it."""
    fake = perfect_pointer("scenes", 3)
    examples = worlds.world_examples("scenes", 0, 3, 3, STYLE)
    report = evaluate(fake, examples)
    table = make_table("fake", {"scenes": report})
    (tmp_path / "table.json").write_text(table.model_dump_json())
    (tmp_path / "scenes.json").write_text(report.model_dump_json())
    nano = Path(molmo_point.__file__).parent / "nano"
    write_card(nano, tmp_path, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert table.markdown().rstrip() in text
    assert "$" not in text
    for kind in kinds_named(STYLE.kinds):
        assert kind.name in text
    with pytest.raises(UsageError, match=r"table\.json.*fill the folder"):
        write_card(nano, tmp_path / "empty", tmp_path / "card.md")
