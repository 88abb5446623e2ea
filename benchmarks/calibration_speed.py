"""Time of project and ray for a million points, compared with OpenCV; time of one position.

    python benchmarks/calibration_speed.py [--points 1000000]

OpenCV runs on one thread, as numpy does here. Each time is the least processor time of five calls,
which says the same on a busy machine as on an idle one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
from molmo_calibration import Camera, DepthImage, StereoNoise, depth_at, lift

MATRIX = np.array([[600.0, 0.0, 320.0], [0.0, 610.0, 240.0], [0.0, 0.0, 1.0]])
RATIONAL = [0.1, 0.02, 1e-3, -5e-4, 0.01, 0.15, 0.01, 0.001]
LENSES: dict[str, tuple[str, list[float]]] = {
    "no distortion": ("none", []),
    "plumb_bob, 5": ("plumb_bob", [-0.28, 0.07, 1e-3, -5e-4, 0.01]),
    "rational, 8": ("rational_polynomial", RATIONAL),
    "rational, 14": ("rational_polynomial", [*RATIONAL, 1e-3, 2e-4, -1e-3, 3e-4, 0.01, -0.02]),
    "equidistant, 4": ("equidistant", [0.05, -0.01, 0.002, -0.001]),
}


def best(call: Callable[[], object], repeats: int = 5) -> float:
    """Least processor time of some calls, in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times) * 1e3


def opencv_calls(
    camera: Camera, points: np.ndarray, uv: np.ndarray
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The same projection and its inverse, by OpenCV."""
    matrix, zero = np.array(camera.matrix), np.zeros(3)
    lens = np.array(camera.distortion) if len(camera.distortion) else np.zeros(5)
    pixels = np.ascontiguousarray(uv[:, None])
    if camera.model == "equidistant":
        shaped = np.ascontiguousarray(points[None])
        return (
            lambda: cv2.fisheye.projectPoints(shaped, zero, zero, matrix, lens),
            lambda: cv2.fisheye.undistortPoints(pixels, matrix, lens),
        )
    return (
        lambda: cv2.projectPoints(points, zero, zero, matrix, lens),
        lambda: cv2.undistortPoints(pixels, matrix, lens),
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000, help="points (1000000)")
    count = parser.parse_args().points
    cv2.setNumThreads(1)
    uv = np.random.default_rng(0).uniform([0, 0], [640, 480], (count, 2))
    print(f"{count} points, milliseconds (numpy {np.__version__}, OpenCV {cv2.__version__})")
    print(f"{'':16}{'project':>9}{'OpenCV':>9}{'ratio':>7}{'ray':>9}{'OpenCV':>9}{'ratio':>7}")
    for name, (model, lens) in LENSES.items():
        camera = Camera(640, 480, MATRIX, np.array(lens), model)
        rays = camera.ray(uv)
        points = np.ascontiguousarray(rays / rays[:, 2:])
        forward, backward = opencv_calls(camera, points, uv)
        times = [
            best(lambda c=camera, p=points: c.project(p)),
            best(forward),
            best(lambda c=camera: c.ray(uv)),
            best(backward),
        ]
        ours, theirs, ray, inverse = times
        print(
            f"{name:16}{ours:9.1f}{theirs:9.1f}{ours / theirs:7.2f}"
            f"{ray:9.1f}{inverse:9.1f}{ray / inverse:7.2f}"
        )
    one_position()


def one_position() -> None:
    """Time the road of a single point: depth at the pixel, then the lift with its covariance."""
    camera = Camera(640, 480, MATRIX, np.array(LENSES["plumb_bob, 5"][1]), "plumb_bob")
    depth = DepthImage(np.full((480, 640), 1.0))
    noise = StereoNoise(600.0, 0.05)
    found = depth_at(depth, [300, 200], camera)
    look = best(lambda: depth_at(depth, [300, 200], camera), 50)
    raise_ = best(lambda: lift(camera, [300, 200], found, np.eye(2), noise), 50)
    print(f"one point: depth_at {look:.2f} ms, lift with covariance {raise_:.2f} ms")


if __name__ == "__main__":
    main()
