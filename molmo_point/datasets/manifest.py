"""What was read: the number of items, and checksums, so that two reports can be seen to be about the same data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from molmo_point.datasets.labelled import LabelledData
from molmo_point.record import Record


class ReadFile(Record):
    """A file that was read.

    Attributes:
        name: Its name, without folders.
        size: In bytes.
        sha256: Checksum, hexadecimal.
    """

    name: str
    size: int
    sha256: str


class Manifest(Record):
    """What was read of a data set.

    Attributes:
        path: As the user gave it.
        layout: Name of its layout.
        items: Number of questions.
        images: Number of images that they are about.
        skipped: Number of entries that could not be used and were left out.
        files: Annotation files and archives; masks and images are in `sha256` only.
        sha256: Over the checksums of all files that were read, images and masks included, sorted: independent of names.
    """

    path: str
    layout: str
    items: int
    images: int
    skipped: int
    files: tuple[ReadFile, ...]
    sha256: str

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.layout}, {self.items:,} items about {self.images:,} images"
            f"{f', {self.skipped:,} entries left out' if self.skipped else ''}, sha256 {self.sha256}"
        )


_SHOWN = (".json", ".jsonl", ".parquet", ".csv", ".yaml", ".yml", ".zip")
_CHUNK = 1 << 20


def manifest(path: Path, data: LabelledData) -> Manifest:
    """Return the manifest of data; every file is read once more for its checksum."""
    images = dict.fromkeys(item.image for item in data.items)
    read = [_read_file(file) for file in dict.fromkeys(data.files)]
    digests = [file.sha256 for file in read]
    digests += [_sha256(image) for image in images if isinstance(image, Path)]
    return Manifest(
        path=str(path),
        layout=data.layout,
        items=len(data.items),
        images=len(images),
        skipped=len(data.skipped),
        files=tuple(file for file in read if Path(file.name).suffix.lower() in _SHOWN),
        sha256=_joined(digests),
    )


def _read_file(path: Path) -> ReadFile:
    return ReadFile(name=path.name, size=path.stat().st_size, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _joined(digests: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()
