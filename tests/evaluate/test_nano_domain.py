"""`nano` knows its own images from photographs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import molmo_point as mp
from molmo_point.checkpoints.catalog import NANO_FOLDER
from molmo_point.engine.local import LocalPointer
from molmo_point.engine.score_calibration import read_calibration
from molmo_point.evaluate.domain_samples import ABSENT, cut_parts


@pytest.fixture(scope="module")
def nano() -> LocalPointer:
    calibration = read_calibration(NANO_FOLDER, 192)
    if calibration is None or calibration.domain is None:
        pytest.skip("nano's calibration has no domain")
    return mp.load("nano")


def photographs() -> list[Path]:
    """Return photographs that other packages ship as samples, as far as they are installed."""
    found = []
    for package, file in (
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        ("sklearn", "datasets/images/china.jpg"),
        ("sklearn", "datasets/images/flower.jpg"),
        ("skimage", "data/astronaut.png"),
        ("moondream", "assets/how-to-be-a-people-person-1662995088.jpg"),
    ):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        folder = Path(spec.origin).parent
        if (folder / file).exists():
            found.append(folder / file)
    return found


def test_photographs_are_foreign_and_no_point_on_them_is_sure(nano: LocalPointer) -> None:
    files = photographs()
    if not files:
        pytest.skip("no package with sample photographs is installed (matplotlib has one)")
    foreign = asked = silent = 0
    images = []
    for number, path in enumerate(files):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        images += cut_parts(pixels, np.random.default_rng(number))[:2]
    for image in images:
        for query in ABSENT[:3]:
            pointing = nano.point(image, query)
            assert pointing.in_domain is not None
            assert pointing.calibrated == (pointing.in_domain >= 0.5)
            asked += 1
            silent += all((point.score or 0) <= 0.5 for point in pointing.points)
            foreign += not pointing.calibrated
    assert foreign >= 0.8 * asked
    assert silent >= 0.9 * asked


def test_its_own_image_is_in_the_domain_and_keeps_its_scores(nano: LocalPointer) -> None:
    with mp.load("nano", calibrated=False) as raw:
        untouched = raw.point(NANO_FOLDER / "demo.png", "dogs")
    pointing = nano.point(NANO_FOLDER / "demo.png", "dogs")
    assert pointing.in_domain is not None
    assert pointing.in_domain > 0.9
    assert pointing.calibrated
    assert untouched.in_domain is None
    assert not untouched.calibrated
    calibration = read_calibration(NANO_FOLDER, 192)
    assert calibration is not None
    assert calibration.weights


def test_a_view_an_answer_in_a_batch_and_a_stream_say_the_same(nano: LocalPointer) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    alone = nano.point(noise, "dog")
    (many,) = nano.point_many([(noise, "dog")])
    with nano.open(noise) as view:
        opened = view.point("dog")
    assert alone.in_domain == pytest.approx(many.in_domain)
    assert opened.in_domain == pytest.approx(alone.in_domain)
    assert [p.score for p in nano.stream(noise, "dog")] == pytest.approx(
        [p.score for p in alone.points]
    )
