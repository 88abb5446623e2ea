"""Small images with the corners that were found, for a report."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from molmo_calibration.calibrate.intrinsics import ViewResult
from molmo_calibration.imports import opencv

_WIDTH_PX = 240
_QUALITY = 70


def thumbnails(folder: Path, views: Sequence[ViewResult]) -> dict[str, str]:
    """Data URLs of JPEGs by the names of the views; images that cannot be read are left out.

    Args:
        folder: of the images, named as the views are.
        views: whose corners are drawn.
    """
    cv2 = opencv("drawing an image")
    drawn = {}
    for view in views:
        image = cv2.imread(str(folder / view.name))
        if image is None:
            continue
        scale = _WIDTH_PX / image.shape[1]
        height = max(round(image.shape[0] * scale), 1)
        small = cv2.resize(image, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        colour = (32, 32, 200) if view.outlier else (60, 200, 40)
        for u, v in view.pixels:
            place = round((u + 0.5) * scale), round((v + 0.5) * scale)
            cv2.circle(small, place, 2, colour, -1, cv2.LINE_AA)
        written, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if written:
            drawn[view.name] = "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
    return drawn
