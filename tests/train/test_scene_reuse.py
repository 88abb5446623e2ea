"""Images that are used several times: which one comes when, and that only the questions differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from molmo_point.synthetic.scenes.scene import Scene
from molmo_point.train.recipe import Recipe
from molmo_point.train.scene_batches import SampleGenerator
from molmo_point.train.scene_reuse import POOL, ReusedScenes, place
from molmo_point.train.vocabulary import build_tokenizer, save_tokenizer

MakeRecipe = Callable[..., Recipe]


def test_each_scene_is_used_as_often_as_the_recipe_says_with_all_others_between() -> None:
    drawn: list[int] = []

    def draw(number: int) -> Scene:
        drawn.append(number)
        pixels = np.full((6, 8, 3), number % 251, np.uint8)
        return Scene(number, pixels, (), np.full((6, 8), number, np.int16))

    scenes = ReusedScenes(draw, 3)
    first = [scenes.at(index) for index in (*range(4), *range(POOL, 2 * POOL))]
    by_seed = {scene.seed: scene for scene, use in first[:4] if use == 0}
    again = {scene.seed: scene for scene, use in first[4:] if use == 1}
    # The first four were kept; the others are drawn where they are asked for first.
    assert sorted(drawn) == list(range(POOL))
    for seed, scene in by_seed.items():
        assert np.array_equal(again[seed].image, scene.image)
        assert np.array_equal(again[seed].owner, scene.owner)
    places = [place(index, 3) for index in range(2 * 3 * POOL)]
    for block in range(2):
        mine = places[block * 3 * POOL : (block + 1) * 3 * POOL]
        numbers = {(number, use) for _, number, use in mine}
        assert numbers == {(block * POOL + n, use) for n in range(POOL) for use in range(3)}
    assert [number for _, number, _ in places[POOL : 2 * POOL]] != list(range(POOL))


def test_a_reused_image_has_other_questions(tmp_path: Path, make_recipe: MakeRecipe) -> None:
    recipe = make_recipe()
    save_tokenizer(build_tokenizer(), tmp_path)
    config = recipe.model.config(4000, 128).preprocess
    stage = recipe.stages[2].model_copy(update={"reuse": 2})
    generator = SampleGenerator(7, stage, tmp_path, config)
    later = next(index for index in range(POOL, 2 * POOL) if place(index, 2)[1] == 5)
    (image, asked), (again, others) = generator.sample(5), generator.sample(later)
    assert np.array_equal(image.crops, again.crops)
    assert [a.ids.tolist() for a in asked] != [a.ids.tolist() for a in others]
    # Held-out images are never repeated.
    held_out = SampleGenerator(7, stage, tmp_path, config, held_out=True)
    assert not np.array_equal(held_out.sample(5)[0].crops, held_out.sample(later)[0].crops)
