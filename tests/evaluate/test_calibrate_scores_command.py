"""`molmo-point calibrate-scores`: a user's own questions in, a calibration and plots out, clear refusals."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import molmo_point as mp
from molmo_point.cli import calibrate_scores as command
from molmo_point.cli import main
from molmo_point.cli.app import build
from molmo_point.datasets import read_labelled
from molmo_point.datasets.regions import labelled_examples
from molmo_point.engine.score_calibration import RawConfidence, read_calibration
from molmo_point.errors import UsageError
from molmo_point.evaluate import score_quality
from molmo_point.evaluate.reliability import draw_reliability
from molmo_point.evaluate.score_quality import AbsenceSample, PointSample, Samples
from molmo_point.examples import Example
from molmo_point.synthetic.scenes.fonts import MissingFont
from molmo_point.testing import FakePointer


class Doubtful(FakePointer):
    """Right on the left, wrong on the right: scores say how often, badly scaled; what is not there is doubted."""

    def __init__(self) -> None:
        super().__init__({})
        self._rng = np.random.default_rng(0)

    def point(self, image: Any, query: str, **options: Any) -> mp.Pointing:
        blank = mp.Pointing(query=query, status=mp.Status.NOT_FOUND, image_size=(100, 100))
        if query == "zebra":
            doubt = float(self._rng.uniform(0.3, 0.9))
            return blank.replace(absent_probability=doubt)
        raw = float(self._rng.uniform(0.05, 0.6))
        hit = self._rng.uniform() < 1.5 * raw
        # As far from the edge either way.
        x = (0.3 if hit else 0.7) + float(self._rng.normal(0, 0.03))
        covariance = (0.02**2, 0.0, 0.02**2)
        point = mp.Point(x=x, y=0.3, label=query, score=raw, covariance=covariance)
        doubt = float(self._rng.uniform(0.0, 0.5))
        return blank.replace(points=(point,), status=mp.Status.FOUND, absent_probability=doubt)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    lines = []
    for index in range(300):
        name = f"{index % 10}.png"
        Image.new("RGB", (100, 100), (index % 10, 0, 0)).save(tmp_path / name)
        boxes = [[10, 10, 50, 50]] if index % 3 else []
        query = "mug" if boxes else "zebra"
        lines.append({"image": name, "query": query, "boxes": boxes})
    lines.sort(key=lambda line: str(line["image"]))
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("as_points", [False, True])
def test_own_questions_give_a_calibration_that_loads(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, as_points: bool
) -> None:
    """With boxes; with points in place of them, and a line that is left out."""
    options = []
    if as_points:
        written = questions.read_text()
        written = written.replace('"boxes": [[10, 10, 50, 50]]', '"points": [[30, 30]]')
        questions.write_text(written + '{"image": "gone.png", "query": "mug", "points": []}\n')
        options = ["--skip-bad"]
    asked: dict[str, Any] = {}

    def load(name: str, **options: Any) -> Doubtful:
        asked.update(options, name=name)
        return Doubtful()

    monkeypatch.setattr("molmo_point.api.load", load)
    out = tmp_path / "made"
    result = CliRunner().invoke(
        build(),
        ["calibrate-scores", "--examples", str(questions), "--out", str(out), *options],
    )
    assert result.exit_code == 0, result.output
    assert ("gone.png" in result.output) == as_points
    assert asked == {"name": "nano", "calibrated": False}
    calibration = read_calibration(out, 192)
    assert calibration is not None
    # What was right 1.5 times as often as it said is now believed about that.
    score, _ = calibration.point(
        RawConfidence(0.5, (4e-4, 4e-4), absent=0.25, position=(0.3, 0.3))
    )
    assert score == pytest.approx(0.75, abs=0.15)
    assert (out / "reliability.png").read_bytes().startswith(b"\x89PNG")
    assert "expected calibration error" in result.output


class Knowing(FakePointer):
    """Points at the right place in half of its answers, and is surer then; the other half at a corner."""

    def __init__(self, halves: tuple[dict[str, Iterable[Example]], ...]) -> None:
        super().__init__({})
        self._rng = np.random.default_rng(0)
        self.truth = {}
        for half in halves:
            for example in (example for world in half.values() for example in world):
                self.truth[np.asarray(example.image).tobytes(), example.query] = example.regions

    def point(self, image: Any, query: str, **options: Any) -> mp.Pointing:
        height, width = image.shape[:2]
        blank = mp.Pointing(
            query=query, status=mp.Status.NOT_FOUND, image_size=(width, height)
        ).replace(absent_probability=float(self._rng.uniform(0, 0.7)))
        regions = self.truth[image.tobytes(), query]
        if not regions:
            return blank.replace(absent_probability=float(self._rng.uniform(0.3, 1)))
        right = self._rng.uniform() < 0.5
        x, y = regions[0].center if right else (0.99, 0.99)
        x, y = (min(max(at + float(self._rng.normal(0, 0.004)), 0), 1) for at in (x, y))
        raw = float(self._rng.uniform(0.3, 0.9) if right else self._rng.uniform(0.1, 0.7))
        point = mp.Point(x=x, y=y, label=query, score=raw, covariance=(1e-4, 0.0, 1e-4))
        return blank.replace(points=(point,), status=mp.Status.FOUND)

    def count(self, image: Any, query: str, **options: Any) -> mp.Pointing:
        return self.point(image, query)


def test_a_mixture_of_worlds_is_measured_whole_and_world_by_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no Chromium, pages are drawn by Pillow, and a warning says so."""
    monkeypatch.setattr("molmo_point.synthetic.pages.browser.NAMES", ())
    try:
        fake = Knowing(command._rendered(["scenes", "pages"], 24, 4))
    except MissingFont as error:
        pytest.skip(str(error))
    monkeypatch.setattr("molmo_point.api.load", lambda name, **options: fake)
    arguments = ["calibrate-scores", "--worlds", "scenes,pages", "--pictures", "24", "--out"]
    result = CliRunner().invoke(build(), [*arguments, str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "drawn by Pillow instead of Chromium" in caplog.text
    heading, _, judged, *rows = result.stdout.splitlines()
    assert heading == "| measured on the other half | calibrated | raw | scenes | pages |"
    columns = [column.strip() for column in judged.split("|")[2:-1]]
    whole, raw, *parts = (int(column.split()[0]) for column in columns)
    assert whole == raw == sum(parts)
    assert all(0 < part < whole for part in parts)
    assert len(rows) == 5
    calibration = read_calibration(tmp_path, 192)
    assert calibration is not None
    assert calibration.measured_on == "every other one of 24 drawn images each of scenes,pages"


def test_no_image_is_in_both_halves() -> None:
    try:
        halves = command._rendered(["scenes", "things"], 8, 2)
        images = [
            {np.asarray(e.image).tobytes() for world in half.values() for e in world}
            for half in halves
        ]
    except MissingFont as error:
        pytest.skip(str(error))
    assert all(len(each) == 8 for each in images)
    assert not images[0] & images[1]


def test_a_world_that_is_not_there_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("molmo_point.api.load", lambda name, **options: pytest.fail("loaded"))
    result = CliRunner().invoke(build(), ["calibrate-scores", "--worlds", "scenes,moon"])
    assert isinstance(result.exception, UsageError)
    assert "no test set is called 'moon'" in str(result.exception)


def test_too_few_questions_are_refused(questions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = questions.with_name("few.jsonl")
    few.write_text("\n".join(questions.read_text().splitlines()[:20]))
    monkeypatch.setattr("molmo_point.api.load", lambda name, **options: Doubtful())
    result = CliRunner().invoke(build(), ["calibrate-scores", "--examples", str(few)])
    assert isinstance(result.exception, UsageError)
    assert "at least 20 present things" in str(result.exception)


def read(path: Path) -> list[Example]:
    return list(labelled_examples(read_labelled(path).items))


def test_images_of_neighbouring_lines_are_read_once(questions: Path) -> None:
    examples = read(questions)
    assert len(examples) == 300
    assert len({id(example.image) for example in examples}) == 10
    assert sum(not example.regions for example in examples) == 100
    assert examples[1].regions[0].contains(0.11, 0.49)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "annotation 1"),
        ('{"image": "0.png", "query": "mug"}', "expected one of points"),
        (
            '{"image": "0.png", "query": "mug", "boxes": [[30, 30, 170, 70]]}',
            "outside of the image",
        ),
        ('{"image": "0.png", "query": "mug", "boxes": [], "mode": "ask"}', "mode"),
    ],
)
def test_lines_that_are_none_are_named(questions: Path, line: str, message: str) -> None:
    path = questions.with_name("bad.jsonl")
    path.write_text(line)
    with pytest.raises(UsageError, match=message):
        read(path)


def test_images_and_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.jsonl"):
        read(tmp_path / "none.jsonl")
    path = tmp_path / "q.jsonl"
    path.write_text('{"image": "gone.png", "query": "mug", "boxes": []}')
    with pytest.raises(UsageError, match=r"gone\.png"):
        read(path)


def test_the_plots_show_what_was_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    points = []
    for _ in range(400):
        score = float(rng.uniform(0, 1))
        hit = bool(rng.uniform() < score)
        offset = tuple(map(float, rng.normal(0, 0.05, 2))) if hit else None
        points.append(PointSample(score, (0.0025, 0.0025), hit, offset))  # type: ignore[arg-type]
    absences = tuple(AbsenceSample(float(rng.uniform()), bool(i % 2)) for i in range(40))
    samples = Samples(tuple(points), absences)
    path = draw_reliability(samples, score_quality.measure(samples), tmp_path / "r.png")
    pixels = np.asarray(Image.open(path).convert("L"))
    assert pixels.shape[1] > 800
    assert (pixels < 128).sum() > 1000


def test_the_name_of_the_cameras_command_leads_to_this_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`molmo-calibrate` calibrates cameras; `molmo-point calibrate` does not exist, and says what does."""
    with pytest.raises(SystemExit) as left:
        main(["calibrate", "--worlds", "scenes"])
    assert left.value.code == 2
    assert "calibrate-scores" in capsys.readouterr().err
