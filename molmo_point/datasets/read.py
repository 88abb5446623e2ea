"""Read labelled data of any known layout, and split them by image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from molmo_point.datasets.labelled import LabelledData, LabelledItem
from molmo_point.datasets.layouts.layout import Opened
from molmo_point.datasets.layouts.table import find_layout
from molmo_point.errors import UsageError


def read_labelled(
    path: Path, *, images: Path | None = None, skip_bad: bool = False, layout: str | None = None
) -> LabelledData:
    """Read labelled data in any layout of `layouts.table`; nothing is downloaded.

    Args:
        path: A file, or the folder of a benchmark.
        images: Folder of the images; None = that of the data. JSON Lines name theirs relative to the file.
        skip_bad: Leave out entries that cannot be used; they are in `skipped`.
        layout: Name of the layout; None finds out.

    Raises:
        BadEntries: There are entries that cannot be used and `skip_bad` is off.
        UsageError: The data cannot be read, have no known layout, or hold nothing that can be used.
    """
    data = Opened(path)
    found = find_layout(data, layout)
    read = found.read(data, images)
    named = replace(read, layout=found.name, files=read.files or (path,))
    return named.checked(path, skip_bad=skip_bad)


def split_by_image(
    items: Sequence[LabelledItem], share: float
) -> tuple[list[LabelledItem], list[LabelledItem]]:
    """Split items into those for training and those held out; all questions about an image go to the same side.

    An image's side depends on its name alone, so that it stays there when other images are added.

    Args:
        share: Of the images that are held out, 0-1.

    Raises:
        UsageError: A side would be empty.
    """
    held = [item for item in items if _draw(item.image) < share]
    kept = [item for item in items if _draw(item.image) >= share]
    if share > 0 and not held:
        # Few images: at least one is held out, the one with the smallest number.
        first = min((item.image for item in items), key=_draw, default=None)
        held = [item for item in items if item.image == first]
        kept = [item for item in items if item.image != first]
    if not kept:
        raise UsageError(
            f"no image is left for training: {len(items)} questions, {share:.0%} of their images held out; give more images or a "
            "smaller share"
        )
    return kept, held


def _draw(image: Path | bytes) -> float:
    name = image.name.encode() if isinstance(image, Path) else image
    return int.from_bytes(hashlib.blake2b(name, digest_size=6).digest(), "big") / 2**48
