"""A recipe small enough to be trained within a test, and scenes drawn with the real fonts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from molmo_point.synthetic.scenes.fonts import MissingFont, emoji_font
from molmo_point.train.recipe import Recipe


@pytest.fixture(scope="session", autouse=True)
def _fonts() -> None:
    """Skip, with the reason, where the emoji font is missing."""
    try:
        emoji_font()
    except MissingFont as error:
        pytest.skip(str(error))


def tiny_recipe(**changes: object) -> Recipe:
    """Three stages of a few steps each on small images; numbers of images, never seconds, end them."""
    style = {"sizes": [[64, 48]], "things": [1, 4], "scale": [0.2, 0.4]}
    common = {"batch": 2, "samples": 6, "questions": 3, "scenes": [{"style": style}]}
    recipe: dict[str, object] = {
        "name": "tiny",
        "seed": 7,
        "precision": "float32",
        "check_pictures": 2,
        "check_every_s": 1e9,
        "save_every_s": 1e9,
        "model": {
            "crop_size": 64,
            "margins": [0, 0],
            "max_crops": 2,
            "vision_width": 16,
            "vision_layers": 2,
            "vision_heads": 2,
            "vision_head_dim": 8,
            "vision_mlp": 32,
            "feature_layers": [-1, -2],
            "width": 24,
            "layers": 3,
            "heads": 2,
            "ffn": 32,
            "taught_layer": 1,
            "taught_heads": 1,
        },
        "stages": [
            {"name": "a", "kind": "dense", "rates": {"vision": 0.01, "connector": 0.01}, **common},
            {"name": "b", "kind": "decoder", "rates": {"decoder": 0.01}, "cached": 4, **common},
            {
                "name": "c",
                "kind": "joint",
                "rates": {"vision": 0.001, "connector": 0.001, "decoder": 0.01},
                **common,
            },
        ],
    }
    return Recipe.model_validate({**recipe, **changes})


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Recipe]:
    """Return the function that makes the recipe, some fields replaced."""
    return tiny_recipe
