"""Error rate of each strategy that reads the depth at a pixel.

A disk of radius r pixels stands 0.6 m in front of the camera, before a wall at 1.2 m. Its rim is
drawn by flying pixels, a tenth of the pixels is missing, and the pointed pixel is off the centre
of the disk. An answer is wrong if it says `ok` and is more than 2 cm from 0.6 m.

    python benchmarks/calibration_depth.py [--trials 400]
"""

from __future__ import annotations

import argparse

import numpy as np
from molmo_calibration import DepthImage, DepthOptions, depth_at

RADII = (3, 5, 8, 12, 20)
OFFSETS = (0, 4, 5.7)
NEAR_M, FAR_M, WRONG_M = 0.6, 1.2, 0.02
HOLES = 0.1
SIZE = 64

STRATEGIES = {
    "pixel": DepthOptions("pixel"),
    "median 7x7": DepthOptions("median", window_px=3.0),
    "median 15x15": DepthOptions("median", window_px=7.0),
    "cluster (default)": DepthOptions(),
    "plane": DepthOptions("plane"),
}


def scene(
    radius: float, offset: float, rng: np.random.Generator
) -> tuple[DepthImage, tuple[float, float]]:
    """A disk before a wall, and a pixel `offset` from the disk's centre in some direction."""
    centre = SIZE / 2 + rng.uniform(-0.5, 0.5, 2)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(columns - centre[0], rows - centre[1])
    sigma = 0.0015 * (np.array([NEAR_M, FAR_M]) / NEAR_M) ** 2
    near = NEAR_M + rng.normal(0, sigma[0], (SIZE, SIZE))
    far = FAR_M + rng.normal(0, sigma[1], (SIZE, SIZE))
    depth = np.where(distance <= radius, near, far)
    rim = np.abs(distance - radius) < 1.5
    flying = rng.uniform(NEAR_M, FAR_M, (SIZE, SIZE))
    depth = np.where(rim, flying, depth)
    depth[rng.random((SIZE, SIZE)) < HOLES] = np.nan
    angle = rng.uniform(0, 2 * np.pi)
    pixel = centre + offset * np.array([np.cos(angle), np.sin(angle)])
    return DepthImage(depth), (float(pixel[0]), float(pixel[1]))


def rates(
    options: DepthOptions, radius: float, offset: float, trials: int, seed: int = 0
) -> tuple[float, float, float]:
    """Shares of right, wrong and refused answers."""
    rng = np.random.default_rng([seed, int(radius * 10), int(offset * 10)])
    right = wrong = 0
    for _ in range(trials):
        depth, pixel = scene(radius, offset, rng)
        result = depth_at(depth, pixel, options=options)
        if result.status == "ok":
            close = abs(result.z_m - NEAR_M) <= WRONG_M
            right, wrong = right + close, wrong + (not close)
    return right / trials, wrong / trials, 1 - (right + wrong) / trials


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=400, help="scenes per cell (400)")
    trials = parser.parse_args().trials
    print(f"percent right / wrong by more than 2 cm / refused, {trials} scenes per cell")
    cells = [(r, o) for r in RADII for o in OFFSETS]
    print(f"{'':18}" + "".join(f"r={r} off={o}".rjust(15) for r, o in cells))
    for name, options in STRATEGIES.items():
        row = [rates(options, r, o, trials) for r, o in cells]
        text = "".join("/".join(f"{100 * x:.0f}" for x in cell).rjust(15) for cell in row)
        print(f"{name:18}{text}")


if __name__ == "__main__":
    main()
