"""The image of a row as the page shows it."""

from __future__ import annotations

import io

import numpy as np

from molmo_point.annotated import LONGEST_SIDE
from molmo_point.count_runs.journal import Entry
from molmo_point.errors import ImageError
from molmo_point.images import Array, load_image


def row_image(entry: Entry) -> bytes:
    """Return the image that was counted as JPEG, at most LONGEST_SIDE pixels wide and high.

    Raises:
        ImageError: The file is not there any more, or cannot be read.
    """
    from PIL import Image

    image = Image.fromarray(_array(entry))
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()


def image_size(entry: Entry) -> tuple[int, int]:
    """Return (width, height) in pixels of the image that was counted. Raises as `row_image`."""
    height, width = _array(entry).shape[:2]
    return width, height


def _array(entry: Entry) -> Array:
    if entry.identity.startswith("data:"):
        raise ImageError(f"{entry.file} came from no file: it is not there any more")
    return load_image(entry.identity) if entry.frame is None else _frame(entry)


def _frame(entry: Entry) -> Array:
    """Decode a video up to a frame: what seeking shows differs from format to format."""
    import cv2

    capture = cv2.VideoCapture(entry.identity)
    try:
        for _ in range(entry.frame or 0):
            if not capture.grab():
                break
        good, image = capture.read()
    finally:
        capture.release()
    if not good:
        raise ImageError(
            f"frame {entry.frame} of {entry.file} cannot be read: is the video still there?"
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
