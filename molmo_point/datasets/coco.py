"""Labelled questions from COCO annotation files: keypoints, masks, and boxes.

Every category of an image becomes one question. A category with several named keypoints (a person's) becomes one for each of
them: "left eye of person". An annotation without labelled keypoints is asked for by its mask (polygons or run lengths, see
https://cocodataset.org/#format-data), else by its box: a point is right on it, and a point on it is the answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from molmo_point.convert import Skipped, from_coco
from molmo_point.convert.coco import id_text
from molmo_point.convert.reading import inside, is_list
from molmo_point.datasets.converted import labelled_data
from molmo_point.datasets.image_size import ImageSizes
from molmo_point.datasets.labelled import LabelledData, LabelledItem
from molmo_point.datasets.masks import StoredMask, decode_runs
from molmo_point.datasets.regions import Disc, Polygons
from molmo_point.errors import UsageError
from molmo_point.examples import Box, Region

Json = dict[str, Any]


def coco_items(dataset: object, path: Path, images: Path | None = None) -> LabelledData:
    """Return the questions of a COCO annotation file.

    Args:
        dataset: The JSON in it.
        path: The file.
        images: Folder of the images; None = that of the file.

    Returns:
        The items, and the annotations that cannot be used, by their ids.

    Raises:
        UsageError: It is no COCO data set.
    """
    nameless = _nameless(dataset)
    known = _known_only(dataset, nameless)
    areas = [a for a in _annotations(known) if not _has_keypoints(a)]
    pointed = (
        {**known, "annotations": [a for a in _annotations(known) if _has_keypoints(a)]}
        if areas
        else known
    )
    converted = from_coco(pointed, keypoint_names=True)
    folder = path.parent if images is None else images
    skipped = [*nameless.values(), *converted.skipped]
    points = labelled_data(converted, skipped, path.name, lambda name: folder / name, empty=False)
    if not areas:
        return points
    found = _Areas(known, path, folder).read(areas)
    return LabelledData(_joined([*points.items, *found.items]), (*points.skipped, *found.skipped))


def _annotations(dataset: Any) -> list[Json]:
    found = dataset.get("annotations") if isinstance(dataset, dict) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _has_keypoints(annotation: Json) -> bool:
    """Return whether an annotation has a labelled keypoint, or keypoints that cannot be read, which is for `from_coco` to say."""
    flat = annotation.get("keypoints")
    if not flat:
        return False
    return not is_list(flat) or len(flat) % 3 != 0 or any(flat[2::3])


class _Areas:
    """Annotations with masks and boxes, as questions.

    Args:
        dataset: A COCO data set with lists of images and categories.
        path: The annotation file; folder: Of the images.
    """

    def __init__(self, dataset: Json, path: Path, folder: Path) -> None:
        self._names = {id_text(c.get("id")): str(c.get("name")) for c in dataset["categories"]}
        images = [image for image in dataset["images"] if isinstance(image, dict)]
        self._images = {id_text(image.get("id")): image for image in images}
        self._times = Counter(id_text(image.get("id")) for image in images)
        self._path, self._folder = path, folder
        self._sizes = ImageSizes()

    def read(self, annotations: list[Json]) -> LabelledData:
        """Return one item for each image and category."""
        regions: dict[tuple[str, str], list[Region]] = defaultdict(list)
        crowds: set[tuple[str, str]] = set()
        skipped: list[Skipped] = []
        for position, annotation in enumerate(annotations):
            place = id_text(annotation.get("image_id")), id_text(annotation.get("category_id"))
            image = self._images.get(place[0])
            name = str(annotation.get("id", position))
            file = "" if image is None else str(image.get("file_name"))
            try:
                if image is None:
                    raise UsageError(f"there is no image with the id {place[0]}")
                if self._times[place[0]] > 1:
                    raise UsageError(f"{self._times[place[0]]} images have the id {place[0]}")
                if place[1] not in self._names:
                    raise UsageError(f"there is no category with the id {place[1]}")
                if annotation.get("iscrowd"):
                    crowds.add(place)
                    raise UsageError("it is a crowd (iscrowd): how many there are is not labelled")
                region = region_of(annotation, self._size(image))
                inside(region.center[0], "x"), inside(region.center[1], "y")
                regions[place].append(region)
            except UsageError as error:
                skipped.append(Skipped(file, name, str(error)))
        # Without the crowd, the answer to "where are all people" would be wrong.
        kept = {place: found for place, found in regions.items() if place not in crowds}
        items = tuple(self._item(*place, found) for place, found in kept.items())
        return LabelledData(items, tuple(skipped))

    def _item(self, image_id: str, category_id: str, regions: list[Region]) -> LabelledItem:
        file, label = str(self._images[image_id]["file_name"]), self._names[category_id]
        boxes = tuple((r.left, r.top, r.right, r.bottom) for r in regions if isinstance(r, Box))
        return LabelledItem(
            self._folder / file,
            label,
            tuple(region.center for region in regions),
            boxes=boxes if len(boxes) == len(regions) else (),
            regions=tuple(regions),
            category=label,
            source=f"{self._path.name}:{file}",
        )

    def _size(self, image: Json) -> tuple[int, int]:
        """Return an image's (width, height).

        Raises:
            UsageError: The file is not there, or of another size than the annotations are for.
        """
        found = self._sizes.of(self._folder / str(image.get("file_name")))
        said = image.get("width"), image.get("height")
        if said != found:
            raise UsageError(
                f"the annotations are for {said[0]}x{said[1]} pixels, the image has {found[0]}x{found[1]}"
            )
        return found


def region_of(annotation: Json, size: tuple[int, int]) -> Region:
    """Return where a point on an annotation's object lies: its mask, else its box.

    Args:
        size: (width, height) of the image in pixels.

    Raises:
        UsageError: It has neither, or they cannot be read.
    """
    shape = annotation.get("segmentation")
    width, height = size
    try:
        if isinstance(shape, dict):
            tall, wide = (int(side) for side in shape["size"])
            if (wide, tall) != size:
                raise UsageError(
                    f"its mask is for {wide}x{tall} pixels, the image has {width}x{height}"
                )
            return StoredMask(decode_runs(shape["counts"], height, width))
        if shape:
            rings = [
                tuple((x / width, y / height) for x, y in zip(ring[::2], ring[1::2], strict=True))
                for ring in shape
            ]
            if any(len(ring) < 3 for ring in rings):
                raise UsageError("expected polygons of three or more corners")
            return Polygons(tuple(rings))
    except (TypeError, KeyError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"expected a segmentation of polygons or run lengths, got {str(shape)[:60]}"
        ) from error
    return _box(annotation.get("bbox"), size)


def _box(box: object, size: tuple[int, int]) -> Box:
    numbers = is_list(box) and len(box) == 4 and all(isinstance(v, (int, float)) for v in box)
    if not numbers or not is_list(box):
        raise UsageError(f"expected bbox as [x, y, width, height], got {str(box)[:60]}")
    x, y, across, down = (float(value) for value in box)
    middle = ((x + across / 2) / size[0], (y + down / 2) / size[1])
    inside(middle[0], "x"), inside(middle[1], "y")
    left, right = (min(max(value / size[0], 0.0), 1.0) for value in (x, x + across))
    top, bottom = (min(max(value / size[1], 0.0), 1.0) for value in (y, y + down))
    return Box(left, top, right, bottom)


def _joined(items: list[LabelledItem]) -> tuple[LabelledItem, ...]:
    """Return the items, those of one image and question joined: some objects have keypoints, others only an area."""
    joined: dict[tuple[object, str], LabelledItem] = {}
    for item in items:
        place = item.image, item.query
        if place not in joined:
            joined[place] = item
            continue
        first = joined[place]
        regions = [*(first.regions or _discs(first)), *(item.regions or _discs(item))]
        joined[place] = LabelledItem(
            item.image,
            item.query,
            (*first.points, *item.points),
            regions=tuple(regions),
            category=item.category,
            source=item.source,
        )
    return tuple(joined.values())


def _discs(item: LabelledItem) -> tuple[Region, ...]:
    return tuple(Disc(x, y) for x, y in item.points)


def _nameless(dataset: Any) -> dict[Any, Skipped]:
    """Return, by id, the categories without a name, with the number of annotations they spoil."""
    if not isinstance(dataset, dict) or not isinstance(dataset.get("categories"), list):
        return {}
    annotations = dataset.get("annotations")
    uses = Counter(
        repr(entry.get("category_id"))
        for entry in (annotations if isinstance(annotations, list) else [])
        if isinstance(entry, dict)
    )
    return {
        category.get("id"): Skipped(
            "categories",
            str(category.get("id")),
            f"the category has no name; {uses[repr(category.get('id'))]} annotations use it",
        )
        for category in dataset["categories"]
        if isinstance(category, dict) and not str(category.get("name") or "").strip()
    }


def _known_only(dataset: Any, nameless: dict[Any, Skipped]) -> Any:
    """Return the data set without the annotations of categories that have no name."""
    if not nameless or not isinstance(dataset.get("annotations"), list):
        return dataset
    kept = [
        entry
        for entry in dataset["annotations"]
        if not (isinstance(entry, dict) and entry.get("category_id") in nameless)
    ]
    return {**dataset, "annotations": kept}
