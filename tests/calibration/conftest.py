"""Cameras of every model, used by most tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest
from molmo_calibration import Camera

MATRIX = np.array([[611.0, 0.0, 322.5], [0.0, 607.0, 238.25], [0.0, 0.0, 1.0]])

LENSES = {
    "none": ("none", []),
    "plumb_bob4": ("plumb_bob", [-0.28, 0.07, 0.001, -0.0005]),
    "plumb_bob5": ("plumb_bob", [-0.28, 0.07, 0.001, -0.0005, 0.01]),
    "rational8": ("rational_polynomial", [0.1, 0.02, 1e-3, -5e-4, 0.01, 0.15, 0.01, 0.001]),
    "rational12": (
        "rational_polynomial",
        [0.1, 0.02, 1e-3, -5e-4, 0.01, 0.15, 0.01, 0.001, 1e-3, 2e-4, -1e-3, 3e-4],
    ),
    "rational14": (
        "rational_polynomial",
        [0.1, 0.02, 1e-3, -5e-4, 0.01, 0.15, 0.01, 0.001, 1e-3, 2e-4, -1e-3, 3e-4, 0.01, -0.02],
    ),
    "equidistant": ("equidistant", [0.05, -0.01, 0.002, -0.001]),
}


def make_camera(name: str, **changes: object) -> Camera:
    model, coefficients = LENSES[name]
    return Camera(640, 480, MATRIX, np.array(coefficients), model).replace(**changes)


@pytest.fixture(params=sorted(LENSES))
def camera(request: pytest.FixtureRequest) -> Camera:
    """A camera of each model in turn."""
    return make_camera(request.param)


@pytest.fixture
def cameras() -> dict[str, Camera]:
    """Cameras of all models by name."""
    return {name: make_camera(name) for name in LENSES}


@pytest.fixture
def points() -> np.ndarray:
    """(200, 3) points in front of a camera and inside its image."""
    rng = np.random.default_rng(3)
    xy = rng.uniform([-0.45, -0.35], [0.45, 0.35], (200, 2))
    z = rng.uniform(0.3, 4.0, (200, 1))
    return np.hstack([xy * z, z])
