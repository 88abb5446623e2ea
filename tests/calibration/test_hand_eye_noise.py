"""The noise model of hand-eye calibration: its normal equations, and the width of its region."""

from __future__ import annotations

import numpy as np
import pytest
from molmo_calibration.calibrate import hand_eye_noise
from molmo_calibration.calibrate.hand_eye_noise import NoiseModel, WeightedStep

CHI_SQUARED_90 = 10.645


def mixture(freedom: float, widths: list[float]) -> WeightedStep:
    """Centred Student distributions of six parameters, as likely as each other."""
    shape = np.diag([1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
    covariances = np.array([width * shape for width in widths])
    weights = np.full(len(widths), 1.0 / len(widths))
    return WeightedStep(
        np.zeros(6),
        np.einsum("k,kij->ij", weights, covariances),
        NoiseModel(1e-3, 2e-3, 0.5),
        weights,
        np.zeros((len(widths), 6)),
        covariances,
        freedom,
    )


def held(step: WeightedStep, covariance: np.ndarray) -> float:
    """Share of draws from the mixture inside the 90 % ellipsoid of a covariance."""
    rng = np.random.default_rng(0)
    cells = rng.integers(len(step.weights), size=100_000)
    roots = np.linalg.cholesky(step.covariances)
    draws = np.einsum("nij,nj->ni", roots[cells], rng.normal(size=(len(cells), 6)))
    chi = rng.chisquare(step.freedom, len(cells))
    draws *= np.sqrt((step.freedom - 2.0) / chi)[:, None]
    squares = np.einsum("ni,ij,nj->n", draws, np.linalg.inv(covariance), draws)
    return float(np.mean(squares < CHI_SQUARED_90))


@pytest.mark.parametrize(
    ("freedom", "widths"),
    [(18.0, [1.0]), (60.0, [1.0]), (60.0, [0.6, 1.0, 1.6]), (24.0, [0.7, 1.3])],
)
def test_the_90_percent_region_holds_90_percent(freedom: float, widths: list[float]) -> None:
    step = mixture(freedom, widths)
    assert held(step, step.region_covariance(6, CHI_SQUARED_90)) == pytest.approx(0.9, abs=0.01)
    assert held(step, step.covariance) < 0.895


def test_many_degrees_of_freedom_are_a_normal_distribution() -> None:
    step = mixture(1e6, [1.0])
    wide = step.region_covariance(6, CHI_SQUARED_90)
    np.testing.assert_allclose(wide, step.covariance, rtol=1e-5)


def test_normal_equations_are_those_of_the_whitened_rows() -> None:
    rng = np.random.default_rng(1)
    rows, levers = rng.normal(size=(12, 6, 13)), rng.normal(size=(12, 3))
    levers[0] = 0.0
    shares, ratios = np.linspace(0, 1, 9), np.exp(rng.normal(size=9))
    white = hand_eye_noise._whitened(rows, levers, shares, ratios).reshape(9, -1, 13)
    grams = hand_eye_noise._grams(rows, levers, shares, ratios)
    np.testing.assert_allclose(grams, np.swapaxes(white, 1, 2) @ white, atol=1e-10)


def test_a_covariance_of_kilometres_and_milliradians_has_a_region() -> None:
    """Poses in mixed units leave one direction known to metres and another to rounding."""
    along = np.array([1e3, -2e3, 500.0, 1e-3, 2e-3, -1e-3])
    covariance = np.outer(along, along) - 1e-12 * np.eye(6)
    step = WeightedStep(
        np.zeros(6),
        covariance,
        NoiseModel(1e-3, 2e-3, 0.5),
        np.ones(1),
        np.zeros((1, 6)),
        covariance[None],
        18.0,
    )
    assert np.isfinite(step.region_covariance(6, CHI_SQUARED_90)).all()
