"""Annotated images as files: scaled for looking at, marked as drawings of this package, written whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molmo_point.drawing_mark import marked
from molmo_point.points import Point, Pointing, Status

if TYPE_CHECKING:
    from PIL import Image

    from molmo_point.image_like import ImageLike

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
LONGEST_SIDE = 2048
"""Drawings are for looking at: larger images are scaled down before they are drawn on."""


def together(pointings: Sequence[Pointing]) -> Pointing:
    """One pointing with the points of all, each under its query: what was asked for, not what the model calls it."""
    from molmo_point.markup.noun_phrase import noun_phrase

    points: list[Point] = []
    for pointing in pointings:
        label = noun_phrase(pointing.query)
        for point in pointing.points:
            update = {"index": len(points), "label": point.label if label.endswith("?") else label}
            points.append(point.model_copy(update=update))
    if len(pointings) == 1:
        return pointings[0].replace(points=tuple(points))
    worst = next(
        (p.status for p in pointings if p.status not in (Status.FOUND, Status.NOT_FOUND)), None
    )
    status = worst or (Status.FOUND if points else Status.NOT_FOUND)
    query = ", ".join(pointing.query for pointing in pointings)
    return pointings[0].replace(
        query=query, points=tuple(points), status=status, stated_count=None, duplicates=0
    )


def write_annotated(image: ImageLike, pointing: Pointing, path: Path) -> None:
    """Draw a pointing on its image and write it; the suffix of `path` is one of FORMATS.

    Raises:
        ImageError: The image cannot be read.
        OSError: The file cannot be written.
    """
    from PIL import Image as Images

    from molmo_point.draw import draw
    from molmo_point.images import load_image

    scaled = Images.fromarray(load_image(image))
    scaled.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Images.Resampling.LANCZOS)
    save_marked(draw(scaled, pointing), path)


def save_marked(drawn: Image.Image, path: Path) -> None:
    """Write an image with the mark of this package's drawings beside the file, and rename it.

    Raises:
        OSError: The file cannot be written.
    """
    format_name = FORMATS[path.suffix.lower()]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened as any file is, so that it has the usual permissions.
    partial = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        with partial.open("xb") as file:
            drawn.save(file, format_name, quality=92, **marked(format_name))
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
