"""Repeated points: one point each, in the answer and in the stream."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.checkpoints.catalog import NANO_FOLDER
from molmo_point.engine.answer import PointAnswer, TimingRecorder
from molmo_point.engine.generate import Step
from molmo_point.engine.uncertainty import ConfidenceTracker, NumberTokens
from molmo_point.markup import MarkupParser
from molmo_point.points import FinishReason, Point, Pointing, Status, Timing
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.repeats import NEAR_DEVIATIONS, NEAR_PERCENT, Repeats

PLACES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=12)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(NANO_FOLDER)


def written(
    tokenizer: Tokenizer,
    text: str,
    ending: FinishReason = FinishReason.STOP,
    calibrated: bool = False,
) -> tuple[list[Point], Pointing]:
    """Return the streamed points and the answer for a text whose tokens all have probability 1."""
    blank = Pointing(query="mugs", status=Status.TRUNCATED, image_size=(100, 100))
    trace = ConfidenceTracker(NumberTokens(tokenizer), None)
    repeats = Repeats(calibrated=calibrated)
    parser = MarkupParser(label="mugs")
    answer = PointAnswer(tokenizer, TimingRecorder(0.0, Timing()), trace, repeats, blank, parser)
    streamed: list[Point] = []
    for token in tokenizer.encode(text):
        logits = torch.full((1, tokenizer.largest_id + 1), -40.0)
        logits[0, token] = 0.0
        streamed += answer.take(Step([token], logits, torch.zeros(1, 4)))
    late, pointing = answer.finish(ending)
    return [*streamed, *late], pointing


def tag(*places: tuple[float, float]) -> str:
    numbers = " ".join(f'x{i}="{x}" y{i}="{y}"' for i, (x, y) in enumerate(places, 1))
    return (
        f' Counting the <points {numbers} alt="mugs">mugs</points> shows a total of {len(places)}.'
    )


def test_a_repeated_position_is_one_point(tokenizer: Tokenizer) -> None:
    text = tag((10.5, 20.0), (70.0, 30.5), (10.5, 20.0), (10.5, 20.0), (40.0, 5.0), (70.0, 30.5))
    streamed, pointing = written(tokenizer, text)
    assert [(p.x, p.y) for p in pointing.points] == [(0.105, 0.2), (0.7, 0.305), (0.4, 0.05)]
    assert [(p.x, p.y, p.index) for p in streamed] == [
        (p.x, p.y, p.index) for p in pointing.points
    ]
    assert [p.index for p in pointing.points] == [0, 1, 2]
    assert (pointing.count, pointing.duplicates, pointing.stated_count) == (3, 3, 6)
    assert pointing.count_agrees is False
    assert pointing.status is Status.FOUND


def test_an_answer_that_repeats_itself_until_it_is_cut(tokenizer: Tokenizer) -> None:
    text = tag(*[(50.0, 50.0)] * 9).partition(" alt")[0]
    streamed, pointing = written(tokenizer, text, FinishReason.LENGTH)
    assert pointing.status is Status.TRUNCATED
    assert (pointing.count, pointing.duplicates, len(streamed)) == (1, 8, 1)


def test_neighbours_stay(tokenizer: Tokenizer) -> None:
    step = NEAR_PERCENT + 0.1
    _, pointing = written(tokenizer, tag(*[(10 + round(i * step, 1), 20.0) for i in range(5)]))
    assert (pointing.count, pointing.duplicates) == (5, 0)


def test_the_best_score_is_kept_at_the_first_place() -> None:
    repeats = Repeats(calibrated=False)
    points = [
        Point(x=0.5, y=0.5, score=0.3, label="mug", index=0),
        Point(x=0.1, y=0.1, score=0.4, index=1),
        Point(x=0.503, y=0.5, score=0.9, index=2),
        Point(x=0.5, y=0.5, index=3),
    ]
    assert [repeats.is_new(point) for point in points] == [True, True, False, False]
    kept = repeats.distinct(points)
    assert [(p.x, p.score, p.label, p.index) for p in kept] == [
        (0.5, 0.9, "mug", 0),
        (0.1, 0.4, "", 1),
    ]


@pytest.mark.parametrize(
    ("calibrated", "deviations", "new"),
    [
        (True, 0.9 * NEAR_DEVIATIONS, False),
        (True, 1.1 * NEAR_DEVIATIONS, True),
        (False, 0.1 * NEAR_DEVIATIONS, True),
    ],
)
def test_calibrated_covariances_say_how_near_is_the_same(
    calibrated: bool, deviations: float, new: bool
) -> None:
    spread = 0.1
    repeats = Repeats(calibrated=calibrated)
    covariance = (spread**2, 0.0, spread**2)
    repeats.is_new(Point(x=0.5, y=0.5, covariance=covariance))
    moved = Point(x=0.5 + spread * deviations, y=0.5, covariance=covariance)
    assert repeats.is_new(moved) is new


@given(PLACES)
def test_distinct_points_are_apart_and_each_point_belongs_to_one(
    places: list[tuple[int, int]],
) -> None:
    points = [Point(x=x / 1000, y=y / 1000, score=0.5, index=i) for i, (x, y) in enumerate(places)]
    repeats = Repeats(calibrated=False)
    new = [repeats.is_new(point) for point in points]
    kept = repeats.distinct(points)
    assert len(kept) == sum(new) == repeats.count
    assert all(a.index + 1 == b.index for a, b in pairwise(kept))
    assert len({(p.x, p.y) for p in kept}) == len(kept)
    for point, group in zip(points, repeats.groups, strict=True):
        assert max(abs(point.x - kept[group].x), abs(point.y - kept[group].y)) < 0.0036
    far = all(
        max(abs(a.x - b.x), abs(a.y - b.y)) > 0.0036
        for i, a in enumerate(points)
        for b in points[:i]
    )
    assert not far or len(kept) == len(points)


def test_hidden_features_belong_to_their_point(tmp_path: Path) -> None:
    import molmo_point as mp

    pointer = mp.load("nano")
    pointing, states = pointer.point_with_features(NANO_FOLDER / "demo.png", "burgers")
    assert len(states) == pointing.count
