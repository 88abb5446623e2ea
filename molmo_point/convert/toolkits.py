"""Pointings as the values of FiftyOne and supervision; each needs the package it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molmo_point.convert.reading import without_none
from molmo_point.errors import UsageError
from molmo_point.install import import_failure
from molmo_point.points import Pointing

if TYPE_CHECKING:
    import fiftyone as fo
    import supervision as sv


def to_supervision(pointing: Pointing) -> sv.KeyPoints:
    """Return `supervision.KeyPoints`: each point an object of one keypoint, in pixels, for supervision's annotators.

    `data` holds "class_name" and "covariance_px" ((N, 3), pixels squared, NaN where unknown).

    Raises:
        MissingExtra: supervision is not installed.
    """
    try:
        import supervision as sv
    except ImportError as error:
        raise import_failure(error, "supervision", "supervision", "to_supervision") from error
    import numpy as np

    points = pointing.points
    if not points:
        return sv.KeyPoints.empty()
    labels = [point.label or pointing.query for point in points]
    names = sorted(set(labels))
    scores = [point.score for point in points]
    confidence = None if None in scores else np.array(scores, np.float32).reshape(-1, 1)
    width, height = pointing.image_size
    unit = np.array([width * width, width * height, height * height], np.float64)
    unknown = (np.nan, np.nan, np.nan)
    covariances = np.array([point.covariance or unknown for point in points]) * unit
    # Confidence goes by position: its keyword was renamed between the releases of supervision.
    return sv.KeyPoints(
        np.array(pointing.pixels(), np.float32).reshape(-1, 1, 2),
        np.array([names.index(label) for label in labels]),
        confidence,
        data={"class_name": np.array(labels), "covariance_px": covariances},
    )


def to_supervision_detections(pointing: Pointing, *, box_px: float) -> sv.Detections:
    """Return `supervision.Detections`: a box around each point, for tools that take boxes alone (trackers, zones, slicers).

    The model names no extents: every box has the same size, and is cut at the image's edges. `data` holds "class_name" and
    "point"
    ((N, 2), pixels).

    Args:
        box_px: Sides of the boxes in pixels.

    Raises:
        UsageError: `box_px` is not above 0.
        MissingExtra: supervision is not installed.
    """
    if not box_px > 0:
        raise UsageError(f"expected box_px above 0, got {box_px!r}")
    try:
        import supervision as sv
    except ImportError as error:
        raise import_failure(
            error, "supervision", "supervision", "to_supervision_detections"
        ) from error
    import numpy as np

    if not pointing.points:
        return sv.Detections.empty()
    pixels = np.array(pointing.pixels(), np.float32).reshape(-1, 2)
    size = np.array(pointing.image_size, np.float32)
    corners = [np.maximum(pixels - box_px / 2, 0), np.minimum(pixels + box_px / 2, size)]
    labels = [point.label or pointing.query for point in pointing.points]
    names = sorted(set(labels))
    scores = [point.score for point in pointing.points]
    return sv.Detections(
        xyxy=np.concatenate(corners, axis=1),
        confidence=None if None in scores else np.array(scores, np.float32),
        class_id=np.array([names.index(label) for label in labels]),
        data={"class_name": np.array(labels), "point": pixels},
    )


def to_fiftyone(pointing: Pointing) -> fo.Keypoints:
    """Return `fiftyone.Keypoints`: each point a `Keypoint` with its label, its 0-1 position, and its score as confidence.

    Raises:
        MissingExtra: fiftyone is not installed.
    """
    try:
        import fiftyone as fo
    except ImportError as error:
        raise import_failure(error, "fiftyone", "fiftyone", "to_fiftyone") from error
    return fo.Keypoints(
        keypoints=[
            fo.Keypoint(
                **without_none(
                    {
                        "label": point.label or pointing.query,
                        "points": [(point.x, point.y)],
                        "confidence": None if point.score is None else [point.score],
                        "index": point.index,
                    }
                )
            )
            for point in pointing.points
        ]
    )
