"""Triangulation with one wrong view, and calibration of wide fisheyes.

Triangulation: random cameras 0.15 m apart, a point 1 to 2.5 m away, 1.5 px of noise; one of two or
three views points 40 px off along each axis. Fisheye: good views of a board, 0.2 px of noise,
lenses of 206 degrees and narrower, with held-out folds.

    python -m benchmarks.calibration_outliers [--runs 500] [--sets 12]
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from molmo_calibration import CalibrationError, Camera, Transform, View, triangulate
from molmo_calibration.calibrate.boards import Board
from molmo_calibration.calibrate.detection import Detection
from molmo_calibration.calibrate.intrinsics import calibrate_intrinsics
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector

SIZE = np.array([640, 480])
PINHOLE = Camera(
    640,
    480,
    np.array([[600.0, 0, 319.5], [0, 610, 239.5], [0, 0, 1]]),
    np.array([-0.25, 0.08, 0.001, -0.0007, 0]),
    "plumb_bob",
)
BOARD = Board(10, 7, 0.025)
SIGMA_PX, OFF_PX, BASE_M = 1.5, 40.0, 0.15
# (focal length in pixels, least cosine between a corner's ray and the optical axis).
FISHEYES = ((190.0, 0.3), (190.0, 0.05), (240.0, 0.3), (300.0, 0.3))


def wrong_view(runs: int, count: int) -> Counter[str]:
    """Answers of `triangulate` where the first of `count` views is off."""
    answers: Counter[str] = Counter()
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        point, views = _views(rng, count)
        try:
            found = triangulate(views)
        except CalibrationError as error:
            answers[f"refused: {type(error).__name__}"] += 1
            continue
        if not found.position.ok:
            answers[f"refused: {found.position.status}"] += 1
        elif not found.used[0]:
            answers["the right ones"] += 1
        elif np.linalg.norm(found.position.point - point) > 0.3:
            answers["wrong by more than 0.3 m"] += 1
        else:
            answers["the wrong one used, less than 0.3 m off"] += 1
    return answers


def fisheyes(sets: int) -> Counter[str]:
    """How many good data sets of each lens calibrate, folds and all."""
    answers: Counter[str] = Counter()
    for focal, least in FISHEYES:
        for seed in range(sets):
            seen = fisheye_views(np.random.default_rng(seed), 20, focal, least)
            try:
                result = calibrate_intrinsics(seen, "equidistant")
            except CalibrationError as error:
                answers[f"{focal:g} px, {least:g}: {type(error).__name__}"] += 1
                continue
            off = abs(result.camera.matrix[0, 0] - focal) / result.sigmas[0]
            fine = result.rms_px < 0.5 and np.isfinite(result.held_out_rms_px) and off < 5
            answers[f"{focal:g} px, {least:g}: {'calibrated' if fine else 'poor'}"] += 1
    return answers


def fisheye_views(
    rng: np.random.Generator, count: int, focal: float, least: float
) -> list[Detection]:
    """Boards that face a fisheye from all around, corners with 0.2 px of noise."""
    camera = Camera(
        640,
        480,
        np.array([[focal, 0, 318.0], [0, focal + 0.5, 243], [0, 0, 1]]),
        np.array([-0.02, 0.004, -0.003, 0.0005]),
        "equidistant",
    )
    middle = BOARD.points.mean(axis=0)
    seen: list[Detection] = []
    while len(seen) < count:
        turn = matrix_from_rotation_vector(rng.uniform(-0.6, 0.6, 3) * [1, 1, 0.6])
        ray = camera.ray(np.array([rng.uniform(40, 600), rng.uniform(40, 440)]))
        x = np.cross([0, 1, 0], ray)
        x /= np.linalg.norm(x)
        turn = np.column_stack([x, np.cross(ray, x), ray]) @ turn
        points = (BOARD.points - middle) @ turn.T + ray * rng.uniform(0.08, 0.25)
        if (points[:, 2] < least * np.linalg.norm(points, axis=1)).any():
            continue
        uv = camera.project(points)
        if not np.isfinite(uv).all() or (uv < 2).any() or (uv > SIZE - 3).any():
            continue
        uv = uv + rng.normal(0, 0.2, uv.shape)
        seen.append(Detection(BOARD.points, uv, (640, 480), f"view {len(seen)}"))
    return seen


def _views(rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[View]]:
    point = np.array([rng.normal(0, 0.2), rng.normal(0, 0.2), rng.uniform(1, 2.5)])
    views: list[View] = []
    while len(views) < count:
        where = rng.normal(0, BASE_M, 3) * [1, 1, 0.3]
        turn = matrix_from_rotation_vector(rng.normal(0, 0.1, 3))
        uv = PINHOLE.project((point - where) @ turn)
        if not np.isfinite(uv).all() or (uv < 0).any() or (uv >= SIZE).any():
            continue
        uv = uv + rng.normal(0, SIGMA_PX, 2)
        if not views:
            uv = uv + rng.choice([-1, 1], 2) * OFF_PX
        pose = Transform.from_parts(turn, where, "world", "camera")
        views.append(View(PINHOLE, pose, uv, np.eye(2) * SIGMA_PX**2))
    return point, views


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500, help="triangulations per row (500)")
    parser.add_argument("--sets", type=int, default=12, help="data sets per fisheye (12)")
    arguments = parser.parse_args()
    for count in (2, 3):
        print(
            f"{count} views, one 40 px off:", dict(wrong_view(arguments.runs, count)), flush=True
        )
    print("fisheyes:", dict(fisheyes(arguments.sets)))


if __name__ == "__main__":
    main()
