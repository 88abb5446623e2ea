"""How good hand-eye calibration is, by number of poses, and whether it knows.

Simulated arms see a board with 2 mrad and 1 mm of noise on every axis.

    python benchmarks/calibration_hand_eye.py [--arms 30]
"""

from __future__ import annotations

import argparse

import numpy as np
from molmo_calibration import HandEyeSample, Transform, calibrate_hand_eye
from molmo_calibration.rotations import matrix_from_rotation_vector


def simulate(rng: np.random.Generator, poses: int) -> tuple[Transform, list[HandEyeSample]]:
    """A camera on a gripper, and what it sees of a board on the table."""

    def turn(size: float) -> np.ndarray:
        return matrix_from_rotation_vector(rng.normal(size=3) * size)

    x = Transform.from_parts(turn(0.5), rng.normal(size=3) * 0.05)
    z = Transform.from_parts(turn(1.0), np.array([0.5, 0, 0.1]) + rng.normal(size=3) * 0.1)
    samples = []
    for _ in range(poses):
        seen = Transform.from_parts(turn(0.35), np.array([0, 0, 0.6]) + rng.normal(size=3) * 0.08)
        noisy = Transform.from_parts(
            turn(2e-3) @ seen.rotation, seen.translation + rng.normal(size=3) * 1e-3
        )
        samples.append(HandEyeSample(z @ seen.inverse() @ x.inverse(), noisy))
    return x, samples


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", type=int, default=30, help="simulated arms per row (30)")
    arms = parser.parse_args().arms
    print("median error and the ratio of true to reported error (rms), 2 mrad and 1 mm of noise")
    print(f"{'poses':>6}{'degrees':>9}{'mm':>7}{'ratio deg':>11}{'ratio mm':>10}")
    for poses in (8, 12, 15, 30):
        rng = np.random.default_rng(poses)
        errors, spreads = [], []
        for _ in range(arms):
            truth, samples = simulate(rng, poses)
            result = calibrate_hand_eye(samples)
            errors.append(truth.difference(result.transform))
            spreads.append((result.spread_m, result.spread_rad))
        metres, radians = np.median(errors, axis=0)
        ratio = np.sqrt(np.mean(np.square(errors), axis=0) / np.mean(np.square(spreads), axis=0))
        print(
            f"{poses:6}{np.rad2deg(radians):9.3f}{metres * 1e3:7.2f}{ratio[1]:11.2f}{ratio[0]:10.2f}"
        )


if __name__ == "__main__":
    main()
