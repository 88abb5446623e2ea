"""Calibrations from few wrong answers, and answers that are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.datasets import read_labelled
from molmo_point.engine.score_calibration import RawConfidence, sigmoid
from molmo_point.errors import UsageError
from molmo_point.evaluate.answer_cache import AnswerCache
from molmo_point.evaluate.fit_calibration import fit_calibration, lacking
from molmo_point.evaluate.score_quality import AbsenceSample, PointSample, Samples, collect
from molmo_point.examples import Box, Example
from molmo_point.testing import FakePointer

RNG = np.random.default_rng(0)


def samples(hits: int, misses: int, absent: int, present: int) -> Samples:
    points = tuple(
        PointSample(
            float(RNG.uniform(0.3, 0.9)),
            (1e-4, 1e-4),
            hit,
            tuple(RNG.normal(0, 0.01, 2)) if hit else None,
            position=(0.4, 0.4),
        )
        for hit in [True] * hits + [False] * misses
    )
    answers = [AbsenceSample(float(RNG.uniform(0.4, 0.9)), True)] * absent
    answers += [AbsenceSample(float(RNG.uniform(0.1, 0.5)), False)] * present
    return Samples(points, tuple(answers))


def test_few_misses_give_a_bias_and_keep_the_order() -> None:
    made = samples(95, 5, 3, 90)
    fitted = fit_calibration(made, "a test")
    raws = [RawConfidence(score, (1e-4, 1e-4), position=(0.4, 0.4)) for score in (0.2, 0.5, 0.8)]
    scores = [fitted.point(raw)[0] for raw in raws]
    assert scores == sorted(scores)
    mean = np.mean([fitted.point(point)[0] for point in made.points])
    assert mean == pytest.approx(96 / 102, abs=1e-3)
    gone = np.mean([fitted.absent(answer.probability) for answer in made.absences])
    assert gone == pytest.approx(4 / 95, abs=1e-3)
    assert (fitted.absent_weight, fitted.score_probe) == (1.0, ())
    assert fitted.absent(0.5) == pytest.approx(sigmoid(fitted.absent_bias))
    assert lacking(made) == {"misses": 5, "absent questions": 3}


def test_without_questions_about_absence_it_stays_as_it_is() -> None:
    fitted = fit_calibration(samples(60, 0, 0, 0), "a test")
    assert fitted.absent(0.3) == pytest.approx(0.3)
    assert fitted.point(RawConfidence(0.5, (1e-4, 1e-4)))[0] > 0.9


def test_too_few_hits_are_refused() -> None:
    with pytest.raises(UsageError, match=r"at least 20 hits.*19 hits"):
        fit_calibration(samples(19, 50, 50, 50), "a test")


class Asked(FakePointer):
    def point(self, image: Any, query: str, **options: Any) -> mp.Pointing:
        made = super().point(image, query, **options)
        points = tuple(
            p.model_copy(update={"score": 0.7, "covariance": (1e-4, 0.0, 1e-4)})
            for p in made.points
        )
        return made.replace(points=points, absent_probability=0.25)


def test_answers_are_asked_for_once(tmp_path: Path) -> None:
    images = [np.full((8, 8, 3), value, np.uint8) for value in (1, 2)]
    examples = [
        Example(image=image, query="mug", regions=[Box(0.4, 0.4, 0.6, 0.6)], mode="point")
        for image in images
    ]
    path = tmp_path / "made" / "answers.jsonl"
    first = Asked({"mug": [(0.5, 0.5)]})
    before = collect(first, examples[:1], AnswerCache(path, "a"))
    with path.open("a") as file:
        file.write('{"key": "cut sho')
    again = Asked({"mug": [(0.5, 0.5)]})
    both = collect(again, examples, AnswerCache(path, "a"))
    assert len(again.calls) == 1
    assert both.points[:1] == before.points
    assert both.points[0].hit
    # Another model's answers are its own; a question that stands there twice is asked twice.
    other = Asked({"mug": [(0.5, 0.5)]})
    collect(other, [examples[0], examples[0]], AnswerCache(path, "b"))
    assert len(other.calls) == 2


@pytest.mark.parametrize(
    ("line", "said", "kind"),
    [
        (
            {"image": "gone.png", "query": "mug", "boxes": []},
            r"annotation 2: .*gone\.png",
            UsageError,
        ),
        (
            {"image": "a.png", "query": " ", "boxes": []},
            "annotation 2: .*expected a query",
            UsageError,
        ),
        (
            {"image": "a.png", "query": "mug", "boxes": [[9, 9, 2, 2]]},
            "annotation 2: .*left < right",
            UsageError,
        ),
    ],
)
def test_mistakes_in_a_line_name_it(
    tmp_path: Path, line: dict[str, Any], said: str, kind: type[Exception]
) -> None:
    from PIL import Image

    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    path = tmp_path / "q.jsonl"
    good = {"image": "a.png", "query": "mug", "boxes": []}
    path.write_text("\n".join(map(json.dumps, (good, line))))
    with pytest.raises(kind, match=said):
        read_labelled(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("\n\n")
    with pytest.raises(UsageError, match="it is empty"):
        read_labelled(path)
