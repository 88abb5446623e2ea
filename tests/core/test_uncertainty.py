"""Scores and covariances from token probabilities, on answers whose distribution is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from molmo_point.engine.generate import Step
from molmo_point.engine.score_calibration import (
    Calibration,
    VarianceModel,
    logit,
    read_calibration,
)
from molmo_point.engine.uncertainty import ConfidenceTracker, NumberTokens
from molmo_point.errors import CheckpointError
from molmo_point.points import Point

DIGITS = [str(number) for number in range(10)]
WHOLE = [str(number) for number in range(101)]


STATES = [[0.5, 0.25], [2.0, -1.0]]
"""The decoder's output at the end of the question and at the end of the point; it is 9 everywhere else."""


class FakeTokenizer:
    """A vocabulary of plain pieces."""

    def __init__(self, vocabulary: list[str]) -> None:
        self.vocabulary = [*vocabulary, ".", '"', " There", " <point"]

    def number_tokens(self) -> dict[int, str]:
        return {i: text for i, text in enumerate(self.vocabulary) if text.isdigit()}

    def encode(self, text: str) -> list[int]:
        return [self.vocabulary.index(" There")]


def answer(
    vocabulary: list[str],
    pieces: list[str],
    doubts: dict[int, dict[str, float]],
    calibration: Calibration | None = None,
) -> tuple[ConfidenceTracker, Point]:
    """Write an answer whose tokens are certain but for `doubts`: {token index: {text: probability}}; it ends in a quote."""
    tokenizer = FakeTokenizer(vocabulary)
    words = tokenizer.vocabulary
    trace = ConfidenceTracker(NumberTokens(tokenizer), calibration)  # type: ignore[arg-type]
    text, spans = "", []
    pieces = [*pieces, '"']
    states = {0: STATES[0], len(pieces) - 1: STATES[1]}
    for index, piece in enumerate(pieces):
        logits = torch.full((1, len(words)), -50.0)
        for other, probability in doubts.get(index, {piece: 1.0}).items():
            logits[0, words.index(other)] = math.log(probability)
        trace.record(
            Step([words.index(piece)], logits, torch.tensor([states.get(index, [9.0, 9.0])]))
        )
        spans.append((len(text), len(text) + len(piece)))
        text += piece
    first = text.index("<point") + len("<point")
    middle = text.index('"')
    point = Point(x=0.5, y=0.5)
    return trace, trace.with_confidence(
        point, ((first, middle), (middle + 1, len(text) - 1)), text, spans
    )


SURE = [" <point", "6", "3", ".", "5", '"', "4", "4", ".", "0"]
SURE_WHOLE = [" <point", "63", ".", "5", '"', "44", ".", "0"]


@pytest.mark.parametrize(("vocabulary", "pieces"), [(DIGITS, SURE), (WHOLE, SURE_WHOLE)])
def test_certain_digits_leave_only_rounding(vocabulary: list[str], pieces: list[str]) -> None:
    _, point = answer(vocabulary, pieces, {})
    assert point.score == pytest.approx(1.0, abs=1e-6)
    assert point.covariance is not None
    rounding = (0.001**2) / 12
    assert point.covariance == pytest.approx((rounding, 0.0, rounding), rel=1e-3)


def test_two_whole_numbers_share_the_mass() -> None:
    """63 or 73, one half each: second moment about 63.5 is half of (73.5 - 63.5)^2 and the spread within the other."""
    _, point = answer(WHOLE, SURE_WHOLE, {1: {"63": 0.5, "73": 0.5}})
    assert point.covariance is not None
    expected = 0.5 * (10**2 + 1 / 12) + 0.5 * 0.1**2 / 12
    assert point.covariance[0] == pytest.approx(expected / 100**2, rel=1e-6)
    assert point.score == pytest.approx(0.5, abs=1e-6)


def test_a_neighbouring_position_counts_as_the_same() -> None:
    _, point = answer(WHOLE, SURE_WHOLE, {1: {"63": 0.5, "64": 0.5}})
    assert point.score == pytest.approx(1.0, abs=1e-6)


def test_uncertain_tens_weigh_more_than_uncertain_tenths() -> None:
    variances = []
    for index, (own, other) in ((1, "67"), (2, "34"), (4, "56")):
        _, point = answer(DIGITS, SURE, {index: {own: 0.6, other: 0.4}})
        assert point.covariance is not None
        variances.append(point.covariance[0])
    assert variances[0] > 10 * variances[1] > 100 * variances[2]


def test_an_uncertain_further_point_lowers_the_score() -> None:
    trace, point = answer(WHOLE, SURE_WHOLE, {0: {" <point": 0.7, " There": 0.3}})
    assert point.score == pytest.approx(0.7, abs=1e-6)
    assert trace.absent_probability() == pytest.approx(0.3, abs=1e-6)


def test_hundred_is_a_number_of_its_own() -> None:
    pieces = [" <point", "100", ".", "0", '"', "0", ".", "1"]
    _, point = answer(WHOLE, pieces, {1: {"100": 0.9, "99": 0.1}})
    assert point.covariance is not None
    assert 0 < point.covariance[0] < 1e-4


def test_numbers_that_are_no_digit_tokens_give_no_confidence() -> None:
    _, point = answer([*WHOLE, "x"], [" <point", "x", ".", "5", '"', "44", ".", "0"], {})
    assert (point.score, point.covariance) == (None, None)


CALIBRATION = Calibration(
    score_weights=(1.0, 0.0, 0.0, -0.5, 0.0, 0.25),
    score_bias=-1.0,
    spread_x=VarianceModel(scale=4.0, power=0.5, doubt=2.0),
    spread_y=VarianceModel(scale=1.0),
    absent_weight=1.0,
    absent_bias=1.0,
    measured_on="a test",
)


def test_calibration_is_applied() -> None:
    doubt = {0: {" <point": 0.7, " There": 0.3}}
    _, raw = answer(WHOLE, SURE_WHOLE, doubt)
    trace, point = answer(WHOLE, SURE_WHOLE, doubt, CALIBRATION)
    assert raw.covariance is not None
    assert point.covariance is not None
    against = 0.3 / 0.7
    assert point.covariance[0] == pytest.approx(
        4 * raw.covariance[0] ** 0.5 * against**2, rel=1e-4
    )
    assert point.covariance[2] == pytest.approx(raw.covariance[2], rel=1e-4)
    # Log odds of the point, less half of those of "none", a quarter of how far up y lies, less the bias.
    odds = math.log(0.7 / 0.3) - 0.5 * math.log(0.3 / 0.7) + 0.25 * math.log(0.02 + 0.5) - 1.0
    assert point.score == pytest.approx(1 / (1 + math.exp(-odds)), rel=1e-4)
    expected = 1 / (1 + math.exp(-(math.log(0.3 / 0.7) + 1)))
    assert trace.absent_probability() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("vocabulary", "pieces"), [(DIGITS, SURE), (WHOLE, SURE_WHOLE)])
def test_probes_use_the_hidden_features(vocabulary: list[str], pieces: list[str]) -> None:
    doubt = {0: {" <point": 0.7, " There": 0.3}}
    _, without = answer(vocabulary, pieces, doubt, CALIBRATION)
    spread_x = CALIBRATION.spread_x.model_copy(update={"probe": (0.0, 4.0, 0.5, 1.0)})
    probing = CALIBRATION.model_copy(
        update={"score_probe": (2.0, -1.0, 0.0, 3.0), "spread_x": spread_x}
    )
    _, point = answer(vocabulary, pieces, doubt, probing)
    assert without.score is not None
    assert point.score is not None
    assert logit(point.score) == pytest.approx(logit(without.score) + 0.75 - 3.0, abs=1e-9)
    assert without.covariance is not None
    assert point.covariance is not None
    # exp(4 * 0.25 + 0.5 * 2.0 - 1.0)
    assert point.covariance[0] == pytest.approx(math.e * without.covariance[0])
    assert point.covariance[2] == without.covariance[2]


@pytest.mark.parametrize(("hint", "variance"), [(1e4, 1 / 3), (-1e4, 1e-8)])
def test_no_probe_takes_a_variance_beyond_the_image_or_below_its_digits(
    hint: float, variance: float
) -> None:
    assert VarianceModel(scale=2.0).variance(1e-3, 0.7, hint) == pytest.approx(variance)


def test_calibration_file(tmp_path: Path) -> None:
    assert read_calibration(tmp_path, 2) is None
    path = tmp_path / "calibration.json"
    path.write_text(CALIBRATION.model_dump_json())
    assert read_calibration(tmp_path, 2) == CALIBRATION
    path.write_text(
        CALIBRATION.model_copy(update={"score_probe": (1.0, 2.0, 3.0, 4.0)}).model_dump_json()
    )
    assert read_calibration(tmp_path, 2) is not None
    with pytest.raises(
        CheckpointError, match="belongs to another model: expected probes of 6 weights, got 4"
    ):
        read_calibration(tmp_path, 3)
    path.write_text(json.dumps({"score_bias": 1}))
    with pytest.raises(CheckpointError, match="damaged"):
        read_calibration(tmp_path, 2)
