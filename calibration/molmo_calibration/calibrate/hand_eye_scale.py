"""Size of the board estimated from the poses of a hand-eye calibration, and how well they determine it.

Only translations of the arm have a known size: if the arm merely turns, camera, board and distances
can grow together and every pose still fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.hand_eye_fit import Chain, Fit, outlier_weights
from molmo_calibration.calibrate.hand_eye_noise import weighted_step

# Movements below this are rounding.
_LEAST_MOVEMENT_M = 1e-6


@dataclass(frozen=True)
class BoardScale:
    """Factor on the board's translations that fits the arm's best.

    Args:
        low: the smaller of two estimates: all position noise in the board's poses, or all in the arm's.
        high: the larger one.
        sigma: standard error of both; infinite if the poses do not determine the scale.
    """

    low: float
    high: float
    sigma: float

    @property
    def factor(self) -> float:
        """Middle of the two estimates."""
        return (self.low + self.high) / 2.0

    @property
    def sigmas_from_one(self) -> float:
        """Distance from 1 of the nearer estimate in standard errors; 0 if 1 is between them."""
        return max(self.low - 1.0, 1.0 - self.high, 0.0) / self.sigma


def board_scale(chain: Chain, fit: Fit) -> BoardScale:
    """One Gauss-Newton step from a fit, with the scale as a thirteenth parameter.

    Noise in the scaled poses biases the scale towards zero (errors in variables): scaling the
    board's translations underestimates it, scaling the arm's by the inverse overestimates it. The
    poses do not say which of the two is noisy, so both are estimated; the truth is between them.
    """
    jacobian = chain.jacobian(fit.x, fit.z)
    boards = chain.left[:, :3, :3] @ fit.x[:3, :3] @ chain.boards[:, :3, 3:]
    arms = (chain.right - chain.left)[:, :3, 3:]
    if _unexplained(arms, jacobian) < _LEAST_MOVEMENT_M:
        return BoardScale(1.0, 1.0, float("inf"))
    estimates, sigmas = [], []
    for column in (boards, arms):
        scaling = np.concatenate([column, np.zeros_like(column)], axis=1)
        step = weighted_step(
            fit.errors,
            np.concatenate([jacobian, scaling], axis=2),
            chain.levers(fit.z),
            outlier_weights(fit.squares),
            fit.noise,
        )
        estimates.append(1.0 + float(step.shift[12]))
        sigmas.append(float(np.sqrt(step.covariance[12, 12])))
    return BoardScale(min(estimates), max(estimates), max(sigmas))


def _unexplained(movement: FloatArray, jacobian: FloatArray) -> float:
    """Rms in metres of the part of a movement that no shift or turn of X and Z can replace."""
    design, target = jacobian[:, :3].reshape(-1, 12), movement.ravel()
    rest = target - design @ np.linalg.lstsq(design, target, rcond=1e-12)[0]
    return float(np.sqrt(np.mean(rest**2)))
