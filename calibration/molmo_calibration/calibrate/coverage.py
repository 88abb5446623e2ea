"""Coverage of the image area and of the board's poses by a set of images.

The four ranges are those of ROS's camera_calibration (its X, Y, Size and Skew bars) with its
targets, so that people find the numbers they know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.detection import Detection

# Cells of the coverage map, (columns, rows).
GRID = (8, 6)

TARGETS = {"x": 0.7, "y": 0.7, "size": 0.4, "skew": 0.5}


@dataclass(frozen=True, eq=False)
class Coverage:
    """Coverage by the detected corners.

    Args:
        x: range of the boards' middles over the width, 0..1.
        y: the same over the height.
        size: range of the boards' sizes, as a share of the image.
        skew: range of their slants, 0..1.
        counts: (rows, columns) corners in each cell of a grid over the image.
    """

    x: float
    y: float
    size: float
    skew: float
    counts: FloatArray

    @property
    def seen(self) -> float:
        """Share of the cells with at least one corner."""
        return float((self.counts > 0).mean())

    @property
    def rim_seen(self) -> float:
        """Share of the outermost cells with a corner: lens distortion is decided there."""
        rim = np.ones(self.counts.shape, dtype=bool)
        rim[1:-1, 1:-1] = False
        return float((self.counts[rim] > 0).mean())


def measure_coverage(detections: Sequence[Detection]) -> Coverage:
    """Measure the coverage of some detections of one image size."""
    size = np.array(detections[0].image_size, float)
    measured = np.array([_position(d, size) for d in detections])
    spans = np.ptp(measured, axis=0)
    corners = np.concatenate([d.pixels for d in detections])
    counts, _, _ = np.histogram2d(
        corners[:, 1],
        corners[:, 0],
        bins=(GRID[1], GRID[0]),
        range=((-0.5, size[1] - 0.5), (-0.5, size[0] - 0.5)),
    )
    x, y, share, skew = (float(span) for span in spans)
    return Coverage(x, y, share, skew, counts)


def _position(detection: Detection, size: FloatArray) -> tuple[float, float, float, float]:
    """camera_calibration's parameters of a board: x, y and size in 0..1, skew in 0..1."""
    up_left, up_right, down_right, down_left = _outside(detection)
    diagonal_a, diagonal_b = down_right - up_left, down_left - up_right
    area = abs(float(diagonal_a[0] * diagonal_b[1] - diagonal_a[1] * diagonal_b[0])) / 2
    border = np.sqrt(area)
    middle = detection.pixels.mean(axis=0)
    x = np.clip((middle[0] - border / 2) / max(size[0] - border, 1.0), 0, 1)
    y = np.clip((middle[1] - border / 2) / max(size[1] - border, 1.0), 0, 1)
    share = np.sqrt(area / (size[0] * size[1]))
    one, other = up_left - up_right, down_right - up_right
    cosine = one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    skew = min(1.0, 2.0 * abs(np.pi / 2 - float(np.arccos(np.clip(cosine, -1, 1)))))
    return float(x), float(y), float(share), float(skew)


def _outside(detection: Detection) -> FloatArray:
    """The four outermost corners that were seen, around the board."""
    flat = detection.board_points[:, :2]
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return detection.pixels[np.argmax(signs @ flat.T, axis=1)]
