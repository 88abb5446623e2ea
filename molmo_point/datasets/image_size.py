"""Sizes of image files, each read once from its header."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from molmo_point.errors import ImageError
from molmo_point.images import load_image

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


class ImageSizes:
    """Sizes (width, height) of images as they are seen: upright, after their EXIF orientation."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int]] = {}

    def of(self, path: Path) -> tuple[int, int]:
        """Return the size of a file.

        Raises:
            ImageError: There is no such file, or it is not an image.
        """
        if path not in self._known:
            self._known[path] = _size(path)
        return self._known[path]


def _size(path: Path) -> tuple[int, int]:
    if not path.is_file():
        raise ImageError(f"there is no image {path}")
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION) in _TURNED
            width, height = image.size
    except (
        Exception
    ):  # formats that Pillow alone does not open, and damage: the loader says what it is
        height, width = load_image(path).shape[:2]
        return width, height
    return (height, width) if turned else (width, height)
