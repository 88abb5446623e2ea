"""Labelled questions from pointings that converters made of foreign annotation files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from molmo_point.convert import Skipped
from molmo_point.datasets.image_size import ImageSizes
from molmo_point.datasets.labelled import LabelledData, LabelledItem
from molmo_point.errors import UsageError
from molmo_point.points import Pointing, Status

FindImage = Callable[[str], Path]
"""Returns the file of an image by the name that the annotations have for it."""


def labelled_data(
    pointings: Iterable[Pointing],
    skipped: Iterable[Skipped],
    source: str,
    find: FindImage,
    *,
    empty: bool = True,
) -> LabelledData:
    """Return a question for each label of each pointing.

    Args:
        pointings: With the image's name as `frame_id`.
        skipped: What the converter could not read.
        source: Name of the annotation file.
        find: Finds the images.
        empty: A pointing without points asks for its query, which is not there; else it is no question.
    """
    bad, items, sizes = list(skipped), [], ImageSizes()
    for pointing in pointings:
        name = pointing.frame_id or ""
        try:
            image = find(name)
            _check(pointing, sizes.of(image))
        except UsageError as error:
            bad.append(Skipped(name, "-", str(error)))
            continue
        places: dict[str, list[tuple[float, float]]] = defaultdict(list)
        if empty and not pointing.points:
            places[pointing.query] = []
        for point in pointing.points:
            places[point.label or pointing.query].append((point.x, point.y))
        for label, points in places.items():
            if not label.strip():
                bad.append(Skipped(name, "-", "there is neither a label nor a query"))
                continue
            items.append(
                LabelledItem(
                    image, label, tuple(points), category=label, source=f"{source}:{name}"
                )
            )
    return LabelledData(tuple(items), tuple(bad))


def _check(pointing: Pointing, size: tuple[int, int]) -> None:
    """Refuse an answer that is not whole, or that was made for an image of another size.

    Raises:
        UsageError: It is such a one.
    """
    if pointing.status not in (Status.FOUND, Status.NOT_FOUND):
        raise UsageError(f"the answer is {pointing.status.value}: it is not whole")
    if size != pointing.image_size:
        raise UsageError(
            f"the annotations are for {pointing.image_size[0]}x{pointing.image_size[1]} pixels, the image has "
            f"{size[0]}x{size[1]}"
        )
