"""`detail`: fewer crops than in training, never more; part of what tells images apart; said in the timing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.checkpoints.catalog import NANO_FOLDER
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.engine.local import LocalPointer
from molmo_point.errors import UsageError
from molmo_point.images import Array
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.preprocess.visual_input import VisualInput, images_input

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDERS = {
    "nano": NANO_FOLDER,
    "tiny-d": GOLDEN / "models/tiny-d",
    "tiny2-q": GOLDEN / "molmo2/models/tiny2-q",
}


def noise(width: int, height: int) -> Array:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def given(name: str, image: Array, detail: Any) -> VisualInput:
    folder = FOLDERS[name]
    config = MolmoConfig.from_folder(folder).preprocess
    return images_input([image], config, Tokenizer(folder), detail)


@pytest.fixture(scope="module")
def nano() -> LocalPointer:
    return mp.load("nano", device="cpu", max_new_tokens=24)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("size", [(900, 700), (2000, 300)])
def test_crops_and_tokens(name: str, size: tuple[int, int]) -> None:
    """At most the given number of crops; "low" is the beginning of the whole: the same first crop, the same first tokens."""
    image = noise(*size)
    whole = given(name, image, "auto")
    for detail in (2, 3, 5):
        assert 2 <= len(given(name, image, detail).crops) <= detail
    low = given(name, image, "low")
    np.testing.assert_array_equal(low.crops, whole.crops[:1])
    np.testing.assert_array_equal(low.input_ids, whole.input_ids[: len(low.input_ids)])
    np.testing.assert_array_equal(low.crops, given(name, image, 1).crops)
    # As many embeddings as image tokens, and every window of patches in the one crop.
    used = low.image_input_idx[low.image_input_idx >= 0]
    assert len(np.unique(used)) == used.size > 0
    assert used.max() < len(low.input_ids)
    if low.pooling.dtype == np.int32:
        assert low.pooling.max() < low.crops.shape[1]
    else:
        assert low.pooling.shape == low.crops.shape[:2]


@pytest.mark.parametrize("name", FOLDERS)
def test_never_more_crops_than_in_training(name: str) -> None:
    image = noise(3000, 2500)
    whole, more = given(name, image, "auto"), given(name, image, 500)
    np.testing.assert_array_equal(more.crops, whole.crops)
    np.testing.assert_array_equal(more.input_ids, whole.input_ids)


def test_it_tells_images_apart_and_is_said(nano: LocalPointer) -> None:
    image = noise(500, 400)
    crops = {}
    for detail in ("auto", "low", 2):
        timing = nano.point(image, "star", detail=detail).timing
        assert timing.detail == detail
        crops[detail] = timing.prompt_tokens
        again = nano.point(image, "star", detail=detail).timing
        assert (again.crops, again.detail, again.prompt_tokens) == (0, detail, crops[detail])
    assert crops["low"] < crops[2] < crops["auto"]
    assert nano.ask(image, "What is this?", detail="low").timing.detail == "low"


def test_every_way_of_asking(nano: LocalPointer) -> None:
    image = noise(420, 300)
    expected = nano.point(image, "star", detail="low")
    with nano.open(image, detail="low") as view:
        answers = [view.point("star")]
    answers += nano.point_many([(image, "star")], detail="low")
    answers += list(nano.point_each(image, ["star"], detail="low"))
    scheduler = nano.scheduler()
    scheduler.add("a", nano.prepare(image, detail="low"), "star")
    scheduler.add("b", image, "star", detail="low")
    while scheduler.has_work:
        answers += [o.result for o in scheduler.step() if isinstance(o.result, mp.Pointing)]
    assert len(answers) == 5
    for answer in answers:
        assert (answer.text, answer.points) == (expected.text, expected.points)
        assert answer.timing.detail == "low"
    assert nano.count(image, "star", detail="low").timing.prompt_tokens < 200


def test_an_engine_has_its_own() -> None:
    pointer = mp.load("nano", device="cpu", detail="low", max_new_tokens=4)
    image = noise(300, 300)
    assert pointer.point(image, "star").timing.crops == 1
    assert pointer.point(image, "star", detail="auto").timing.detail == "auto"


@pytest.mark.parametrize("detail", ["high", 0, -1, True, 2.5, ""])
def test_anything_else_is_refused(nano: LocalPointer, detail: Any) -> None:
    with pytest.raises(UsageError, match="expected detail as 'auto', 'low' or a number"):
        nano.point(noise(40, 30), "star", detail=detail)
    with pytest.raises(UsageError, match="detail"):
        mp.load("nano", detail=detail)


def test_molmopoint_needs_patches_to_point_at_and_frames_have_one_crop() -> None:
    pointer = mp.load(GOLDEN / "molmo2/models/tinypoint-q", device="cpu", max_new_tokens=4)
    image = noise(500, 400)
    with pytest.raises(UsageError, match="at least 2, got 'low'"):
        pointer.point(image, "star", detail="low")
    # The canvas of one crop is the low-resolution view: the same pixels are encoded once.
    timing = pointer.point(image, "star", detail=2).timing
    assert (timing.crops, timing.detail) == (1, 2)
    with pytest.raises(UsageError, match="leave detail out"):
        pointer.point(mp.Video([image, image], (0.0, 0.5)), "star", detail=2)
