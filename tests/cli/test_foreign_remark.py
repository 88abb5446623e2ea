"""The command line says in one line that an image is none that the model knows, and what to load instead."""

from __future__ import annotations

import molmo_point as mp
from molmo_point.checkpoints.catalog import PHOTOGRAPHS, find
from molmo_point.cli.answers import Answer
from molmo_point.cli.asking import remarks


def answered(in_domain: float | None, *, calibrated: bool) -> Answer:
    pointing = mp.Pointing(
        query="mug",
        points=(mp.Point(x=0.5, y=0.5, label="mug", score=0.02),),
        status=mp.Status.FOUND,
        image_size=(640, 480),
        model="nano",
        in_domain=in_domain,
        calibrated=calibrated,
    )
    return Answer("kitchen.jpg", "mug", pointing)


def test_a_foreign_image_is_said_in_one_line_with_what_to_load() -> None:
    (line,) = remarks(answered(0.02, calibrated=False), "point")
    assert "\n" not in line
    assert "not like the images that nano was trained on (2 % like them)" in line
    assert f"--model {PHOTOGRAPHS}" in line
    assert find(PHOTOGRAPHS) is not None


def test_known_images_and_models_without_a_domain_need_no_words() -> None:
    assert remarks(answered(0.9, calibrated=True), "point") == []
    assert remarks(answered(None, calibrated=False), "point") == []


def test_json_has_the_probability() -> None:
    assert answered(0.02, calibrated=False).as_json()["in_domain"] == 0.02
    assert answered(None, calibrated=False).as_json()["in_domain"] is None
