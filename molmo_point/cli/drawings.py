"""`--out`: drawn pictures, one file or a folder of them, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from molmo_point.cli.pictures import Picture
from molmo_point.errors import UsageError

if TYPE_CHECKING:
    from molmo_point.points import Pointing

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


class Drawings:
    """Where the drawn pictures go.

    Args:
        out: A file for one picture; a folder (which is made) for several, or if it exists or ends with a slash.
        pictures: All that will be drawn.

    Raises:
        UsageError: `out` would replace one of the pictures, or is a file and there are several.
    """

    def __init__(self, out: str, pictures: list[Picture]) -> None:
        path = Path(out)
        is_folder = path.is_dir() or out.endswith(("/", os.sep))
        if not is_folder and len(pictures) > 1:
            if path.suffix.lower() in _FORMATS or path.exists():
                raise UsageError(
                    f"--out {out} is one file, and there are {len(pictures)} pictures: give a folder"
                )
            is_folder = True
        self._folder = path if is_folder else None
        self._file = None if is_folder else path
        self._used: set[str] = set()
        if self._file is not None:
            _check(self._file, pictures)

    def write(self, picture: Picture, pointing: Pointing) -> Path:
        """Draw one pointing; return the file that was written.

        Raises:
            UsageError: It cannot be written.
        """
        from molmo_point.draw import draw

        path = self._file or self._name(picture)
        _check(path, [picture])
        drawn = draw(picture.source, pointing)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    drawn.save(file, _FORMATS[path.suffix.lower()], quality=92)
                os.chmod(name, 0o666 & ~_umask())
                os.replace(name, path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
        return path

    def _name(self, picture: Picture) -> Path:
        """Return a name in the folder that no earlier picture has got."""
        stem, number = picture.stem, 1
        name = stem
        while name in self._used:
            number += 1
            name = f"{stem}-{number}"
        self._used.add(name)
        return (self._folder or Path()) / f"{name}.png"


def _check(path: Path, pictures: list[Picture]) -> None:
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"expected --out to end with {', '.join(_FORMATS)}, got {path.name!r}")
    for picture in pictures:
        if isinstance(picture.source, str) and not picture.source.startswith("data:"):
            original = Path(picture.source)
            if path.exists() and original.exists() and path.samefile(original):
                raise UsageError(
                    f"--out {path} would replace the picture itself: give another name"
                )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
