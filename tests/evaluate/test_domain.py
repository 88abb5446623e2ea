"""The domain of a calibration: fitted, applied to scores, stored, refused where it is another checkpoint's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from molmo_point.checkpoints.catalog import NANO_FOLDER
from molmo_point.cli.calibrate_domain import measure_stored
from molmo_point.engine import score_calibration
from molmo_point.engine.encoded_image import summarize
from molmo_point.engine.image_calibration import ImageCalibration
from molmo_point.engine.score_calibration import Calibration, RawConfidence, read_calibration
from molmo_point.errors import CheckpointError, UsageError
from molmo_point.evaluate import domain_samples
from molmo_point.evaluate.domain_samples import LONGEST, PARTS, cut_parts
from molmo_point.evaluate.fit_domain import (
    DomainSamples,
    ForeignAnswer,
    fit_domain,
    measure_domain,
)

WIDTH = 12
SURE = RawConfidence(0.99, (1e-4, 1e-4), absent=0.01)


def samples(seed: int, images: int = 80) -> DomainSamples:
    """Own images near 0; foreign ones shifted along a few directions; every third answer about them has a sure point."""
    rng = np.random.default_rng(seed)
    shift = np.where(np.arange(WIDTH) < 4, 3.0, 0.0)
    return DomainSamples(
        own=rng.normal(size=(images, WIDTH)),
        foreign=rng.normal(size=(2 * images, WIDTH)) + shift,
        sources=[n // 2 for n in range(2 * images)],
        answers=[ForeignAnswer(2 * n, (SURE,) * (n % 3 == 0)) for n in range(images)],
    )


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    plain = read_calibration(NANO_FOLDER, 192)
    assert plain is not None
    domain = fit_domain(samples(0), "drawn numbers")
    return plain.model_copy(update={"domain": domain, "score_probe": ()})


def test_foreign_images_are_told_from_own_ones_and_their_scores_fall(
    calibration: Calibration,
) -> None:
    quality = measure_domain(calibration, samples(1))
    assert quality.auroc > 0.98
    assert (quality.own_outside.value or 0) <= 0.05
    assert (quality.foreign_outside.value or 0) > 0.9
    assert quality.silent_before.value == pytest.approx(2 / 3, abs=0.02)
    assert (quality.silent.value or 0) > 0.9


def test_the_score_lies_between_the_calibrated_one_and_what_foreign_images_support(
    calibration: Calibration,
) -> None:
    domain = calibration.domain
    assert domain is not None
    inside, outside = (calibration.point(SURE)[0], domain.foreign_hits)
    for share in (0.0, 0.3, 1.0):
        score, variances = ImageCalibration(calibration, share).point(SURE)
        assert score == pytest.approx(share * inside + (1 - share) * outside)
        assert variances == calibration.point(SURE)[1]
    assert not ImageCalibration(calibration, 0.49).holds
    assert ImageCalibration(calibration, 0.5).holds


def test_without_a_domain_nothing_is_known_and_nothing_lowered(calibration: Calibration) -> None:
    plain = calibration.model_copy(update={"domain": None})
    anywhere = ImageCalibration.of(plain, np.zeros(WIDTH))
    assert anywhere is not None
    assert anywhere.in_domain is None
    assert anywhere.holds
    assert anywhere.point(SURE) == plain.point(SURE)
    # A question without an image.
    assert ImageCalibration.of(calibration, None) == ImageCalibration(calibration)
    assert ImageCalibration.of(None, np.zeros(WIDTH)) is None


def test_too_few_images_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"at least 30 own and 30 foreign images.*got 20 and 20"):
        fit_domain(samples(0, images=20), "few")


def test_a_calibration_of_other_weights_is_refused(tmp_path: Path) -> None:
    content = json.loads((NANO_FOLDER / "calibration.json").read_text())
    content = {**content, "version": 2, "weights": "0123456789abcdef"}
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(content))
    assert read_calibration(tmp_path, 192, "0123456789abcdef") is not None
    with pytest.raises(CheckpointError, match=r"belongs to another model.*calibrate-scores"):
        read_calibration(tmp_path, 192, "fedcba9876543210")


def test_a_domain_of_another_width_and_a_later_version_are_refused(
    calibration: Calibration, tmp_path: Path
) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(calibration.model_dump_json())
    with pytest.raises(CheckpointError, match="a domain of 384 weights, got 12"):
        read_calibration(tmp_path, 192)
    path.write_text(json.dumps({**calibration.model_dump(mode="json"), "version": 3}))
    with pytest.raises(CheckpointError, match="version"):
        read_calibration(tmp_path, 192)


def test_a_summary_is_mean_and_deviation_over_tokens() -> None:
    rows = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert summarize(rows).tolist() == [2.0, 5.0, 1.0, 0.0]


def test_parts_keep_the_shape_of_the_image_and_no_size_tells_them() -> None:
    image = np.zeros((300, 900, 3), np.uint8)
    parts = cut_parts(image, np.random.default_rng(0))
    assert len(parts) == 1 + PARTS
    for part in parts:
        height, width = part.shape[:2]
        assert width in LONGEST
        assert width / height == pytest.approx(3, rel=0.02)


def test_a_stored_domain_is_measured_on_other_images_as_they_are(
    calibration: Calibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    asked: list[list[str]] = []

    def collect(_pointer: object, _own: object, foreign: list[str], *_: object) -> DomainSamples:
        asked.append(foreign)
        return samples(1)

    monkeypatch.setattr(domain_samples, "collect_domain", collect)
    monkeypatch.setattr(score_calibration, "read_calibration", lambda *_: calibration)
    quality = measure_stored("nano", {}, tmp_path, 1)
    # The same numbers as by hand: nothing is fitted to what is measured on.
    assert quality == measure_domain(calibration, samples(1))
    assert asked == [[str(tmp_path / "one.png")]]
    assert "measured on 80 own and 1 foreign images" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]
    with pytest.raises(UsageError, match="--foreign"):
        measure_stored("nano", {}, None, 1)
    without = calibration.model_copy(update={"domain": None})
    monkeypatch.setattr(score_calibration, "read_calibration", lambda *_: without)
    with pytest.raises(UsageError, match="fit one without --measure-domain"):
        measure_stored("nano", {}, tmp_path, 1)
