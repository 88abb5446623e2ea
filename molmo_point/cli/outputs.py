"""`--out`: drawn images, one file or a folder of them, written whole or not at all, never over a file of the user's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molmo_point.annotated import FORMATS
from molmo_point.cli.inputs import InputImage
from molmo_point.drawing_mark import is_our_drawing
from molmo_point.errors import PointError, UsageError

if TYPE_CHECKING:
    from molmo_point.points import Pointing


class DrawingFailed(PointError):
    """A drawing could not be written: the disk is full, say. The answers are not affected."""

    kind = "drawing"


class AnnotatedOutputs:
    """Where the drawn images go. Everything that can be wrong is found out here, before a model is loaded.

    Args:
        out: A file for one image; a folder (which is made) for several, or if it exists or ends with a slash.
        images: All that will be drawn.
        several: A set was asked for, whatever came of it: `out` is a folder.
        overwrite: Replace files that are no drawings of this package, too. Never one of `images`.

    Raises:
        UsageError: `out` would replace a file, lies among the images, cannot be made, or is a file and there are several.
    """

    def __init__(
        self,
        out: str,
        images: Sequence[InputImage],
        *,
        several: bool = False,
        overwrite: bool = False,
    ) -> None:
        if not out.strip():
            raise UsageError("--out is empty: give a file, or a folder for several images")
        path = Path(out)
        is_folder = path.is_dir() or out.endswith(("/", os.sep))
        if not is_folder and (several or len(images) > 1):
            if path.suffix.lower() in FORMATS or path.exists():
                raise UsageError(
                    f"--out {out} is one file, and there are {len(images)} images: give a folder"
                )
            is_folder = True
        self._folder = path if is_folder else None
        self._file = None if is_folder else path
        self._overwrite = overwrite
        self._used: set[str] = set()
        self.written = 0
        self.failed = False
        if self._file is not None:
            self._check_file(self._file, images)
        else:
            _check_folder(path, images)
        _check_writable(path if is_folder else path.parent)

    @property
    def place(self) -> Path:
        """The file or the folder."""
        return self._file or self._folder or Path()

    def write_each(self, images: Sequence[InputImage], pointing: Pointing) -> None:
        """Draw a pointing about several images, or about the frames of a video: into each image its own points.

        Raises:
            DrawingFailed, ImageError: As `write`.
        """
        from molmo_point.points import Status

        for number, image in enumerate(images):
            points = tuple(p for p in pointing.points if p.image_index == number)
            status = pointing.status
            if status is Status.FOUND and not points:
                status = Status.NOT_FOUND
            self.write(image, pointing.replace(points=points, status=status))

    def write(self, image: InputImage, pointing: Pointing) -> Path:
        """Draw one pointing; return the file that was written.

        Raises:
            DrawingFailed: It cannot be written.
            ImageError: The image cannot be read.
        """
        from molmo_point.annotated import write_annotated

        path = self._file or self._free_name(image)
        try:
            write_annotated(image.source, pointing, path)
        except OSError as error:
            raise DrawingFailed(f"{path} cannot be written: {error.strerror or error}") from error
        self.written += 1
        return path

    def _check_file(self, path: Path, images: Sequence[InputImage]) -> None:
        if path.suffix.lower() not in FORMATS:
            raise UsageError(f"expected --out to end with {', '.join(FORMATS)}, got {path.name!r}")
        for image in images:
            if image.path is not None and path.exists() and path.samefile(image.path):
                raise UsageError(f"--out {path} would replace the image itself: give another name")
        if path.exists() and not self._overwrite and not is_our_drawing(path):
            raise UsageError(
                f"--out {path} exists and is no drawing of molmo-point: give another name, or add --overwrite"
            )

    def _free_name(self, image: InputImage) -> Path:
        """Return a name in the folder that no earlier image has got, and no file that is not a drawing."""
        stem, number = image.stem, 1
        folder = self._folder or Path()
        while True:
            name = stem if number == 1 else f"{stem}-{number}"
            path = folder / f"{name}.jpg"
            if name not in self._used and (not path.exists() or is_our_drawing(path)):
                self._used.add(name)
                return path
            number += 1


def _check_folder(folder: Path, images: Sequence[InputImage]) -> None:
    for image in images:
        parent = None if image.path is None else image.path.parent
        if parent is not None and folder.exists() and parent.exists() and folder.samefile(parent):
            raise UsageError(
                f"--out {folder} is the folder of {image.name}: drawings would lie among the images; give another folder"
            )


def _check_writable(folder: Path) -> None:
    existing = next(
        (parent for parent in (folder, *folder.parents) if parent.exists()), Path()
    ).resolve()
    if not existing.is_dir():
        raise UsageError(f"--out: {folder} cannot be written: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"--out: {folder} cannot be written: no permission in {existing}")
