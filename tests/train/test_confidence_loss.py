"""Confidence loss: which points are judged right or wrong, and that the decoder learns from it."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.scenes.questions import Question
from molmo_point.train.batches import PointTargets
from molmo_point.train.collate import collate
from molmo_point.train.confidence_loss import confidence_loss
from molmo_point.train.init_network import Network
from molmo_point.train.negatives import hard_negatives
from molmo_point.train.sample import build_image_sample
from molmo_point.train.target_sequence import AnswerWriter, written_order
from molmo_point.train.vocabulary import NUMBERS, AnswerTokens, opening_tokens
from tests.train.test_examples import CONFIG, questions, scene, tokenizer

__all__ = ["tokenizer"]

NONE = NUMBERS
WIDTH = NUMBERS + 2
"""The decoder's output is its logits here: of the numbers, of "none" and of anything else."""


def test_points_and_negatives_are_found_again_in_the_batch(tokenizer: Tokenizer) -> None:
    opening = {tokenizer.encode(text)[0] for text in opening_tokens()}
    writer = AnswerWriter(tokenizer, cut=0.0)
    seen = Counter[tuple[bool, bool]]()
    for index in range(12):
        drawn = scene(index)
        image = build_image_sample(drawn, CONFIG, tokenizer)
        asked = questions(drawn)
        answers = [writer.write(question, image.points, 0.5) for question in asked]
        answers += [writer.negative(question, np.array([[10.0, 20.0]])) for question in asked]
        batch = collate([(image, []), (image, answers)])
        ids, targets = batch.inputs.ids.view(-1), batch.answers.targets.view(-1)
        segments = batch.inputs.segments.view(-1)
        height, width = drawn.image.shape[:2]
        boxes = [np.array(t.box) / np.tile([width / 100, height / 100], 2) for t in drawn.things]
        marks = zip(batch.points.negative.tolist(), batch.points.judgeable.tolist(), strict=True)
        for (end, x, y, last), box, (negative, judgeable) in zip(
            batch.points.rows.tolist(), batch.points.boxes, marks, strict=True
        ):
            assert len({int(segments[row]) for row in (end, x, y, last)}) == 1
            assert tokenizer.decode(ids[: end + 1].tolist()).endswith("Assistant:")
            assert int(ids[x]) in opening
            assert int(ids[y]) in opening
            seen[negative, judgeable] += 1
            if negative:
                assert box.isnan().all()
                assert (targets[segments == segments[x]] < 0).all()
                assert tokenizer.decode(ids[y : last + 1].tolist()).endswith('="20.0')
                continue
            assert any(np.allclose(box, np.clip(other, 0, 100), atol=1e-3) for other in boxes)
            # The taught number lies in the box, but for what is hidden of a thing.
            assert box[0] - 1 <= targets[x] <= box[2] + 1
            assert box[1] - 1 <= targets[y] <= box[3] + 1
            assert tokenizer.decode(ids[y + 1 : last + 1].tolist()) == f"{targets[y]}.{ids[last]}"
        assert len(batch.points.rows) == sum((len(q.targets) or 0) + 1 for q in asked)
    assert seen[False, True] > 20
    assert seen[True, True] > 10
    assert seen[True, False] > 10
    assert seen[False, False] == 0


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_negatives_are_not_on_what_is_asked_for(tokenizer: Tokenizer, index: int) -> None:
    drawn = scene(index)
    image = build_image_sample(drawn, CONFIG, tokenizer)
    rng = np.random.default_rng(index)
    for question in questions(drawn):
        points = hard_negatives(question, image, rng)
        if points is None:
            assert question.targets
            continue
        assert ((points >= 0) & (points <= 100)).all()
        assert (len(points) > 1) == (len(question.targets) > 1) or not question.targets
        x, y = points[written_order(points)[0]]
        for target in question.targets:
            left, top, right, bottom = image.boxes[target]
            assert not (left <= x <= right and top <= y <= bottom)


def test_half_of_what_is_there_has_a_negative_beside_it() -> None:
    box = np.array([30.0, 40.0, 70.0, 60.0])
    alone: Any = SimpleNamespace(points=np.array([[50.0, 50.0]]), boxes=box[None])
    asked = Question("point", "cup", "Point to the cup", (0,), "name")
    rng = np.random.default_rng(0)
    drawn = [hard_negatives(asked, alone, rng) for _ in range(400)]
    negatives = np.array([points[0] for points in drawn if points is not None])
    assert 160 < len(negatives) < 240
    beyond = np.abs(negatives - [50, 50]) - [20, 10]
    assert (beyond.max(1) >= 0.5).all()
    assert (beyond.max(1) <= 0.5 + 3 * 20).all()


def targets(
    rows: list[Any],
    boxes: list[Any],
    other_columns: list[Any] | None = None,
    judgeable: bool = True,
) -> PointTargets:
    columns = torch.zeros(len(rows), NUMBERS, dtype=torch.bool)
    for row, numbers in enumerate(other_columns or []):
        columns[row, numbers] = True
    boxes_ = torch.tensor(boxes)
    return PointTargets(
        rows=torch.tensor(rows),
        boxes=boxes_,
        other_columns=columns,
        negative=boxes_.isnan().all(1),
        judgeable=torch.full((len(rows),), judgeable),
    )


def logits(**rows: float) -> torch.Tensor:
    """One output: `n50=9` gives the number 50 that logit, `none=2` the token of none."""
    row = torch.zeros(WIDTH)
    for name, value in rows.items():
        row[NONE if name == "none" else int(name[1:])] = value
    return row


MODEL: Any = SimpleNamespace(decoder=SimpleNamespace(logits=lambda hidden: hidden))
HEADS: Any = SimpleNamespace(sure=lambda hidden: hidden[:, -1:].expand(-1, 3))
TOKENS = AnswerTokens(0, NONE)
BOX = [40.0, 10.0, 60.0, 20.0]
NEGATIVE = [math.nan] * 4
SURE, UNSURE = math.log1p(math.exp(-3.0)), math.log1p(math.exp(3.0))
"""Loss of saying 3 log odds and being right, or wrong."""


def said(odds: float, **rows: float) -> torch.Tensor:
    row = logits(**rows)
    row[-1] = odds
    return row


def point(x: str, y: str = "n15", *, odds: float = 3.0, none: float = -9.0) -> list[torch.Tensor]:
    """The four outputs of a point: of the question's end, where x and y begin, and behind it; all but y's say `odds`."""
    return [said(odds, none=none), said(odds, **{x: 9.0}), logits(**{y: 9.0}), said(odds)]


def loss(hidden: list[torch.Tensor], *args: Any, **kwargs: Any) -> tuple[float, dict[str, float]]:
    rows = [tuple(range(row, row + 4)) for row in range(0, len(hidden), 4)]
    network = Network(MODEL, HEADS, TOKENS)
    points = targets(rows, *args, **kwargs)
    value, counts = confidence_loss(network, torch.stack(hidden)[None], points)
    return 4 * float(value), counts


@pytest.mark.parametrize(
    ("x", "y", "right"),
    [("n50", "n15", True), ("n39", "n15", False), ("n50", "n20", False), ("n40", "n10", True)],
)
def test_a_point_is_right_inside_its_box(x: str, y: str, right: bool) -> None:
    value, counts = loss(point(x, y), [BOX])
    # Whatever the network would have written: what is written there is right.
    assert value == pytest.approx(2 * (SURE if right else UNSURE) + SURE, rel=1e-4)
    assert (counts["judged"], counts["judged_right"]) == (1.0, float(right))
    assert (counts["written"], counts["written_right"]) == (1.0, 1.0)


def test_a_thing_narrower_than_a_percent_can_be_hit() -> None:
    value, _ = loss(point("n50", "n15"), [[50.7, 15.2, 50.9, 15.3]])
    assert value == pytest.approx(3 * SURE, rel=1e-4)


def test_a_negative_is_wrong_wherever_it_points() -> None:
    value, counts = loss(point("n50"), [NEGATIVE])
    assert value == pytest.approx(3 * UNSURE, rel=1e-4)
    assert counts["written_right"] == 0.0


def test_a_negative_where_there_is_something_says_nothing_about_the_networks_own_point() -> None:
    value, counts = loss(point("n50"), [NEGATIVE], judgeable=False)
    assert value == pytest.approx(UNSURE, rel=1e-4)
    assert counts["judged"] == 0.0


def test_right_points_and_negatives_weigh_the_same() -> None:
    three_to_one = [*point("n50"), *point("n50"), *point("n50"), *point("n50", odds=-3.0)]
    value, _ = loss(three_to_one, [BOX, BOX, BOX, NEGATIVE])
    assert value == pytest.approx(2 * SURE + 2 * SURE, rel=1e-4)
    value, _ = loss([*three_to_one[:12], *point("n50")], [BOX, BOX, BOX, NEGATIVE])
    # Before: three right, one wrong. Behind: one half and one half.
    assert value == pytest.approx(2 * (3 * SURE + UNSURE) / 4 + SURE + UNSURE, rel=1e-4)


def test_points_that_would_not_be_written_do_not_count() -> None:
    """One of the two is denied by the network: only the other one's loss is left."""
    value, counts = loss(
        [*point("n50", none=40.0), *point("n50", odds=-3.0)], [NEGATIVE, NEGATIVE]
    )
    assert value == pytest.approx(3 * SURE, rel=1e-4)
    assert (counts["judged"], counts["judged_right"]) == (1.0, 1.0)


def test_what_is_on_another_asked_thing_is_not_judged() -> None:
    value, counts = loss(point("n80"), [BOX], [range(78, 84)])
    assert value == pytest.approx(SURE, rel=1e-4)
    assert counts["judged"] == 0.0


def test_confidence_is_learned_by_the_decoder() -> None:
    """Its output has to move, too: the heads alone are not shipped. What is right is not learned from here."""
    heads: Any = SimpleNamespace(sure=nn.Linear(WIDTH, 3))
    hidden = torch.stack(point("n50"))[None].requires_grad_()
    points = targets([(0, 1, 2, 3)], [NEGATIVE])
    value, _ = confidence_loss(Network(MODEL, heads, TOKENS), hidden, points)
    value.backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    moved = hidden.grad[0].abs().sum(-1) > 0
    assert moved.tolist() == [True, True, False, True]
