"""Five hundred random questions about random images: drafts, trees among them, change no token.

On `nano`, whose answers are real markup, and on every family's golden checkpoint, whose random weights write free text.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.engine.local import LocalPointer
from molmo_point.synthetic.scenes.scene import draw_scene
from molmo_point.synthetic.splits import held_out_seed
from molmo_point.train.recipe import read_recipe

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
NANO = Path(mp.__file__).parent / "nano"
NAMES = ("dogs", "cat", "red star", "the burgers", "zebra", "hearts", "a blue circle", "puppies")


def check(plain: LocalPointer, drafted: LocalPointer, images: list[np.ndarray], each: int) -> int:
    """Ask about every image with both; return the passes that drafting saved."""
    rng = random.Random(7)
    saved = 0
    for image in images:
        with plain.open(image) as slow, drafted.open(image) as fast:
            for _ in range(each):
                kind, name = rng.choice(("point", "count", "ask")), rng.choice(NAMES)
                if kind == "ask":
                    question = f"{rng.choice(('Describe', 'What is beside', 'Count'))} {name}"
                    assert fast.ask(question) == slow.ask(question)
                    continue
                a, b = (getattr(view, kind)(name) for view in (slow, fast))
                assert b.text == a.text
                assert [(p.x, p.y) for p in b.points] == [(p.x, p.y) for p in a.points]
                assert [p.score for p in b.points] == pytest.approx(
                    [p.score for p in a.points], rel=1e-4
                )
                assert b.timing.new_tokens == a.timing.new_tokens
                saved += a.timing.forward_passes - b.timing.forward_passes
                assert b.timing.forward_passes <= a.timing.forward_passes
    return saved


@pytest.mark.lengthy
def test_nano() -> None:
    style = read_recipe(NANO / "training.json").stages[-1].scenes[0].style
    images = [draw_scene(held_out_seed(50_000 + index), style).image for index in range(30)]
    options = {"image_cache_bytes": 0, "max_new_tokens": 60}
    plain = mp.load("nano", drafts=False, **options)
    assert check(plain, mp.load("nano", **options), images, 10) > 600


@pytest.mark.parametrize("family", ["tiny-d", "tiny-o", "tiny-moe", "tiny-72b"])
def test_random_networks(family: str) -> None:
    rng = np.random.default_rng(3)
    sizes = [(60, 80), (200, 120), (90, 300), (1, 1), (150, 150)]
    images = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
    options = {"image_cache_bytes": 0, "max_new_tokens": 16}
    plain = mp.load(GOLDEN / family, drafts=False, **options)
    check(plain, mp.load(GOLDEN / family, **options), images, 10)
