"""Photographs in a training mixture: scenes without things, questions about what is not in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from molmo_point.checkpoints.catalog import NANO_FOLDER
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.errors import UsageError
from molmo_point.synthetic.pages.draw import PageStyle
from molmo_point.synthetic.scenes import photographs
from molmo_point.synthetic.scenes.photographs import (
    PhotographStyle,
    absent_questions,
    draw_photograph,
)
from molmo_point.synthetic.scenes.questions import QuestionStyle
from molmo_point.synthetic.splits import held_out_seed
from molmo_point.train.collate import collate
from molmo_point.train.losses import LossWeights
from molmo_point.train.recipe import MixtureEntry, Rates, StageRecipe
from molmo_point.train.scene_batches import SampleGenerator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(0, 256, (6, 9, 3), np.uint8)
        name = "dogs/dog" if number % 2 else "street"
        path = root / f"{name}-{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((450, 300)).save(path)
    return root


def test_a_photograph_is_a_scene_without_things(folder: Path) -> None:
    style = PhotographStyle(str(folder), ((64, 48), (48, 64)))
    sizes = set()
    for seed in range(12):
        scene = draw_photograph(seed, style)
        again = draw_photograph(seed, style)
        assert np.array_equal(scene.image, again.image)
        assert scene.things == ()
        assert (scene.owner == -1).all()
        sizes.add(scene.image.shape)
    assert sizes == {(48, 64, 3), (64, 48, 3)}


def test_evaluation_has_photographs_of_its_own(folder: Path) -> None:
    held_out = set(photographs._files(str(folder), True))
    training = set(photographs._files(str(folder), False))
    assert held_out
    assert not held_out & training
    assert len(held_out | training) == 40
    style = PhotographStyle(str(folder))
    assert {photographs._file(held_out_seed(n), style) for n in range(50)} <= held_out
    assert {photographs._file(n, style) for n in range(50)} <= training


def test_nothing_asked_about_is_there_by_its_name(folder: Path) -> None:
    style = PhotographStyle(str(folder))
    asked = [
        question
        for seed in range(40)
        for question in absent_questions(
            draw_photograph(seed, style),
            np.random.default_rng(seed),
            8,
            QuestionStyle(),
            style,
        )
        if "dog" in str(photographs._file(seed, style).relative_to(folder))
    ]
    assert len(asked) > 100
    assert all(question.targets == () for question in asked)
    assert not any("dog" in question.query for question in asked)


def test_a_stage_trains_on_photographs(folder: Path) -> None:
    stage = StageRecipe(
        name="no",
        kind="joint",
        samples=4,
        rates=Rates(decoder=1e-4),
        losses=LossWeights(sure=1.0),
        scenes=(MixtureEntry(photographs=PhotographStyle(str(folder), ((224, 224),))),),
    )
    config = MolmoConfig.from_folder(NANO_FOLDER).preprocess
    generator = SampleGenerator(0, stage, NANO_FOLDER, config)
    image, answers = generator.sample(0)
    assert (image.token_things < 0).all()
    assert len(answers) >= 5
    assert collate([generator.sample(1), generator.sample(2)]).inputs is not None


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least a few dozen photographs"):
        draw_photograph(0, PhotographStyle(str(tmp_path)))
    with pytest.raises(UsageError, match="at least 32x32"):
        PhotographStyle(str(tmp_path), ((8, 8),))
    with pytest.raises(ValidationError, match="page or photographs"):
        MixtureEntry(page=PageStyle(), photographs=PhotographStyle("photos"))
