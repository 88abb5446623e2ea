"""Coverage of the covariance of hand-eye calibration, and its error compared with the closed form.

Simulated arms, 2 mrad and 1 mm of noise on every axis, in the arm's poses, the board's, or both; the
share of runs whose 90 % region (chi² of 6 or 3 degrees) holds the true transform, and a point 0.6 m
in front of the camera moved by it; and median translation errors compared with Park's closed form.

    python -m benchmarks.hand_eye_coverage [--runs 200] [--poses 6 8 10 12 15 30]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from molmo_calibration import HandEyeSample, Transform, calibrate_hand_eye, mahalanobis_squared
from molmo_calibration.calibrate.hand_eye_fit import Chain, closed_form
from molmo_calibration.geometry.rotations import (
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)

SETUPS = ("eye_in_hand", "eye_to_hand")
NOISES = ("arm", "board", "both")
NOISE_RAD, NOISE_M = 2e-3, 1e-3
POINT = np.array([0.1, -0.05, 0.6])
# 90 % quantiles of chi² with 6 and 3 degrees of freedom.
REGION_6, REGION_3 = 10.6446, 6.2514


@dataclass(frozen=True)
class Row:
    """Results of one case: shares in the 90 % regions, median errors in millimetres."""

    transform: float
    point: float
    fit_mm: float
    closed_mm: float
    reported_mm: float


def simulate(
    rng: np.random.Generator, poses: int, setup: str, noise: str
) -> tuple[Transform, list[HandEyeSample]]:
    """The true answer and the noisy poses of one arm that looks at a board 0.4 to 0.8 m away."""
    in_hand = setup == "eye_in_hand"
    x = Transform.from_parts(
        _turn(rng, 0.3), np.array([0.05, -0.03, 0.08]) + rng.normal(0, 0.02, 3)
    )
    z = Transform.from_parts(_facing_down(rng), [0.5, 0.1, 0.0])
    if not in_hand:
        x = Transform.from_parts(_facing_down(rng), [0.5, 0.1, 0.9])
        z = Transform.from_parts(_turn(rng, 0.1), [0.0, 0.0, 0.06])
    samples = []
    for _ in range(poses):
        away = np.array([0, 0, rng.uniform(0.4, 0.8)]) + rng.normal(0, 0.05, 3)
        seen = Transform.from_parts(_turn(rng, 0.3), away)
        arm = z @ seen.inverse() @ x.inverse() if in_hand else x @ seen @ z.inverse()
        samples.append(
            HandEyeSample(
                _noisy(rng, arm) if noise != "board" else arm,
                _noisy(rng, seen) if noise != "arm" else seen,
            )
        )
    return x, samples


def measure(runs: int, poses: int, setup: str, noise: str) -> Row:
    """Simulate one case many times."""
    squares, point_squares, errors, closed, reported = [], [], [], [], []
    for run in range(runs):
        rng = np.random.default_rng([run, poses, SETUPS.index(setup), NOISES.index(noise)])
        truth, samples = simulate(rng, poses, setup, noise)
        result = calibrate_hand_eye(samples, setup).transform
        assert result.covariance is not None
        error = _difference(truth, result)
        squares.append(float(mahalanobis_squared(error, result.covariance)))
        off = result.apply(POINT) - truth.apply(POINT)
        spread = result.apply_covariance(POINT, np.zeros((3, 3)))
        point_squares.append(float(mahalanobis_squared(off, spread)))
        errors.append(np.linalg.norm(error[:3]))
        reported.append(np.sqrt(np.trace(result.covariance[:3, :3])))
        arms = np.array([s.base_from_gripper.matrix for s in samples])
        boards = np.array([s.camera_from_board.matrix for s in samples])
        start = closed_form(Chain.of(arms, boards, setup))
        closed.append(np.linalg.norm(start[:3, 3] - truth.translation))
    return Row(
        float(np.mean(np.array(squares) < REGION_6)),
        float(np.mean(np.array(point_squares) < REGION_3)),
        float(np.median(errors)) * 1e3,
        float(np.median(closed)) * 1e3,
        float(np.median(reported)) * 1e3,
    )


def table(runs: int, poses: Sequence[int]) -> None:
    """Print one Markdown row per case."""
    print(
        "| setup | noise in | poses | transform in 90 % | point in 90 % | mm | Park mm | sigma mm |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for setup in SETUPS:
        for noise in NOISES:
            for count in poses:
                row = measure(runs, count, setup, noise)
                print(
                    f"| {setup} | {noise} | {count} | {row.transform:.0%} | {row.point:.0%} | "
                    f"{row.fit_mm:.2f} | {row.closed_mm:.2f} | {row.reported_mm:.2f} |",
                    flush=True,
                )


def _turn(rng: np.random.Generator, size: float) -> np.ndarray:
    return matrix_from_rotation_vector(rng.normal(0, size, 3))


def _facing_down(rng: np.random.Generator) -> np.ndarray:
    return np.asarray(np.diag([1.0, -1.0, -1.0]) @ _turn(rng, 0.1))


def _noisy(rng: np.random.Generator, pose: Transform) -> Transform:
    turn = _turn(rng, NOISE_RAD) @ pose.rotation
    return Transform.from_parts(turn, pose.translation + rng.normal(0, NOISE_M, 3))


def _difference(truth: Transform, found: Transform) -> np.ndarray:
    turn = rotation_vector_from_matrix(found.rotation @ truth.rotation.T)
    return np.concatenate([found.translation - truth.translation, turn])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="simulated arms per row (200)")
    parser.add_argument("--poses", type=int, nargs="+", default=[6, 8, 10, 12, 15, 30])
    arguments = parser.parse_args()
    table(arguments.runs, arguments.poses)


if __name__ == "__main__":
    main()
