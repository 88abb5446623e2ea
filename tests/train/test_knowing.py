"""Whether the network knows that it is about to be right: what is judged, and that it is learned."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.train.batches import Batch, collate
from molmo_point.train.examples import AnswerWriter, see
from molmo_point.train.knowing import sure_loss
from molmo_point.train.vocabulary import NUMBERS, opening_tokens
from tests.train.test_examples import CONFIG, questions, scene, tokenizer

__all__ = ["tokenizer"]

NONE = NUMBERS
WIDTH = NUMBERS + 2
"""The decoder's output is its logits here: of the numbers, of "none" and of anything else."""


def test_points_and_foils_are_found_again_in_the_batch(tokenizer: Tokenizer) -> None:
    opening = {tokenizer.encode(text)[0] for text in opening_tokens()}
    writer, points, foils = AnswerWriter(tokenizer, cut=0.0), 0, 0
    for index in range(12):
        drawn = scene(index)
        picture = see(drawn, CONFIG, tokenizer)
        asked = questions(drawn)
        answers = [writer.write(question, picture.points, 0.5) for question in asked]
        absent = [question for question in asked if not question.targets]
        answers += [writer.foil(question, np.array([[10.0, 20.0]])) for question in absent]
        batch = collate([(picture, []), (picture, answers)])
        ids, targets = batch.ids.view(-1), batch.targets.view(-1)
        segments = batch.segments.view(-1)
        points += sum(len(question.targets) for question in asked)
        foils += len(absent)
        height, width = drawn.image.shape[:2]
        boxes = [np.array(t.box) / np.tile([width / 100, height / 100], 2) for t in drawn.things]
        for (end, x, y), box in zip(batch.openings.tolist(), batch.boxes, strict=True):
            assert segments[end] == segments[x]
            assert tokenizer.decode(ids[end - 1 : end + 1].tolist()).endswith(":")
            assert int(ids[x]) in opening
            if y < 0:
                assert box.isnan().all()
                assert (targets[segments == segments[x]] < 0).all()
                continue
            assert int(ids[y]) in opening
            assert any(np.allclose(box, np.clip(other, 0, 100), atol=1e-3) for other in boxes)
            # The taught number lies in the box, but for what is hidden of a thing.
            assert box[0] - 1 <= targets[x] <= box[2] + 1
            assert box[1] - 1 <= targets[y] <= box[3] + 1
        assert len(batch.openings) == sum(len(question.targets) or 1 for question in asked)
    assert points > 20
    assert foils > 10


def batch(openings: list[Any], boxes: list[Any], elsewhere: list[Any] | None = None) -> Batch:
    empty = torch.zeros(len(openings), NUMBERS, dtype=torch.bool)
    for row, numbers in enumerate(elsewhere or []):
        empty[row, numbers] = True
    return SimpleNamespace(  # type: ignore[return-value]
        openings=torch.tensor(openings), boxes=torch.tensor(boxes), elsewhere=empty
    )


def logits(**rows: float) -> torch.Tensor:
    """One output: `n50=9` gives the number 50 that logit, `none=2` the token of none."""
    row = torch.zeros(WIDTH)
    for name, value in rows.items():
        row[NONE if name == "none" else int(name[1:])] = value
    return row


MODEL: Any = SimpleNamespace(decoder=SimpleNamespace(logits=lambda hidden: hidden))
HEADS: Any = SimpleNamespace(sure=lambda hidden: hidden[:, -1:])
BOX = [40.0, 10.0, 60.0, 20.0]
FOIL = [math.nan] * 4


def loss(hidden: list[torch.Tensor], *args: Any) -> tuple[float, dict[str, float]]:
    value, counts = sure_loss(MODEL, HEADS, torch.stack(hidden)[None], batch(*args), 0, NONE)
    return float(value), counts


def said(odds: float, **rows: float) -> torch.Tensor:
    row = logits(**rows)
    row[-1] = odds
    return row


@pytest.mark.parametrize(
    ("x", "y", "right"),
    [("n50", "n15", True), ("n39", "n15", False), ("n50", "n20", False), ("n40", "n10", True)],
)
def test_a_point_is_right_inside_its_box(x: str, y: str, right: bool) -> None:
    rows = [logits(none=-9), said(3.0, **{x: 9.0}), logits(**{y: 9.0})]
    value, counts = loss(rows, [(0, 1, 2)], [BOX])
    expected = math.log1p(math.exp(-3.0 if right else 3.0))
    assert value == pytest.approx(expected, rel=1e-4)
    assert counts == {"judged": 1.0, "judged_right": float(right)}


def test_a_thing_narrower_than_a_percent_can_be_hit() -> None:
    rows = [logits(none=-9), said(3.0, n50=9.0), logits(n15=9.0)]
    value, _ = loss(rows, [(0, 1, 2)], [[50.7, 15.2, 50.9, 15.3]])
    assert value == pytest.approx(math.log1p(math.exp(-3.0)), rel=1e-4)


def test_a_foil_is_wrong_wherever_it_points() -> None:
    value, _ = loss([logits(none=-9), said(3.0, n50=9.0)], [(0, 1, -1)], [FOIL])
    assert value == pytest.approx(math.log1p(math.exp(3.0)), rel=1e-4)


def test_points_that_would_not_be_written_do_not_count() -> None:
    """One of the two is denied by the network: only the other one's loss is left."""
    rows = [logits(none=40), said(3.0, n50=9.0), logits(none=-9), said(-3.0, n50=9.0)]
    value, counts = loss(rows, [(0, 1, -1), (2, 3, -1)], [FOIL, FOIL])
    assert value == pytest.approx(math.log1p(math.exp(-3.0)), rel=1e-4)
    assert counts == {"judged": 1.0, "judged_right": 1.0}


def test_what_is_on_another_asked_thing_is_not_judged() -> None:
    rows = [logits(none=-9), said(3.0, n80=9.0), logits(n15=9.0)]
    value, counts = loss(rows, [(0, 1, 2)], [BOX], [range(78, 84)])
    assert (value, counts["judged"]) == (0.0, 0.0)


def test_knowing_is_learned_by_the_decoder() -> None:
    """Its output, too, has to move: the head alone is not what is shipped."""
    heads = SimpleNamespace(sure=nn.Linear(WIDTH, 1))
    hidden = torch.stack([logits(none=-9), logits(n50=9.0)])[None].requires_grad_()
    value, _ = sure_loss(
        MODEL,
        heads,
        hidden,
        batch([(0, 1, -1)], [FOIL]),
        0,
        NONE,  # type: ignore[arg-type]
    )
    value.backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert hidden.grad[0, 1].abs().sum() > 0
    assert hidden.grad[0, 0].abs().sum() == 0
