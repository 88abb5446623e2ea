"""A few items of our own in each published layout, written into a folder.

Every set asks about an image of 80 x 40 pixels with two objects; their boxes, in pixels with the far edges left out, are `BOXES`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

WIDTH, HEIGHT = 80, 40
BOXES = ((10, 4, 30, 14), (50, 20, 70, 36))
CENTRES = tuple(((x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT) for x0, y0, x1, y1 in BOXES)
URL = "https://example.org/photos/one%20bench.png?size=large"


def mask(*boxes: tuple[int, int, int, int]) -> np.ndarray[Any, Any]:
    """Return a mask (H, W) bool of boxes."""
    inside = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in boxes:
        inside[y0:y1, x0:x1] = True
    return inside


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """Return pixels as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def photo() -> bytes:
    """Return the image: black, its objects white."""
    return png(np.repeat(mask(*BOXES)[..., None] * np.uint8(255), 3, axis=2))


def gray(*boxes: tuple[int, int, int, int]) -> bytes:
    """Return the mask of boxes as a PNG file of 0 and 255."""
    return png(mask(*boxes) * np.uint8(255))


def put(path: Path, data: bytes | str | list[Any] | dict[str, Any]) -> Path:
    """Write bytes, a text, or JSON, with the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(data, bytes):
        data = (data if isinstance(data, str) else json.dumps(data)).encode()
    path.write_bytes(data)
    return path


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def pixmo_points(folder: Path) -> Path:
    put(folder / f"{hashlib.sha256(URL.encode()).hexdigest()}", photo())
    put(folder / "two.png", photo())
    points = [{"x": 100 * x, "y": 100 * y} for x, y in CENTRES]
    masks = [mask(box).tolist() for box in BOXES]
    rows = [
        {"image_url": URL, "image_sha256": "0" * 64, "label": "mugs", "points": points, "masks": masks},
        {"image_url": "https://example.org/two.png", "image_sha256": "1" * 64, "label": "zebra", "points": [], "masks": []},
    ]  # fmt: skip
    return parquet(folder / "test.parquet", rows).parent


def pixmo_count(folder: Path) -> Path:
    put(folder / "photos" / "two.png", photo())
    rows = [
        {"image_url": "https://example.org/two.png", "image_sha256": "1" * 64, "count": 2, "label": "mugs", "points": None},
    ]  # fmt: skip
    return parquet(folder / "data" / "test.parquet", rows).parents[1]


def countbenchqa(folder: Path) -> Path:
    rows = [
        {"image": {"bytes": photo(), "path": None}, "text": "two mugs", "question": "How many mugs are there?", "number": 2},
    ]  # fmt: skip
    return parquet(folder / "test.parquet", rows)


def tallyqa(folder: Path) -> Path:
    put(folder / "VG_100K_2" / "1.png", photo())
    rows = [
        {"answer": 2, "data_source": "amt", "image": "VG_100K_2/1.png", "image_id": 9, "issimple": False,
         "question": "How many mugs are there?", "question_id": 3},
        {"answer": 0, "data_source": "amt", "image": "VG_100K_2/1.png", "image_id": 9, "issimple": True,
         "question": "How many zebras are there?", "question_id": 4},
    ]  # fmt: skip
    put(folder / "test.json", rows)
    return folder


def point_bench(folder: Path) -> Path:
    """The images as folders, the masks as an archive whose names are UTF-8 without the flag that says so."""
    put(folder / "selected_images" / "spatial" / "a.png", photo())
    put(folder / "selected_images" / "counting" / "café.png", photo())
    with zipfile.ZipFile(folder / "selected_masks.zip", "w") as archive:
        archive.writestr("selected_masks/spatial/a_mask.png", gray(BOXES[0]))
        name = "selected_masks/counting/café_mask.png".encode().decode("cp437")
        archive.writestr(_Unflagged(name), gray(*BOXES))
    rows = [
        {"image_filename": "a.png", "user_input": "Point to the mug on the left", "category": "spatial",
         "mask_filename": "a_mask.png"},
        {"image_filename": "café.png", "user_input": "Point to all mugs", "category": "counting", "count": 2,
         "mask_filename": "café_mask.png"},
        {"image_filename": "b.png", "user_input": "No mask: not asked", "category": "spatial"},
    ]  # fmt: skip
    put(folder / "data.json", rows)
    return folder


class _Unflagged(zipfile.ZipInfo):
    """An entry whose name is written without the flag that says it is UTF-8, as many programs do."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("cp437"), 0


def where2place(folder: Path) -> Path:
    put(folder / "images" / "a.png", photo())
    buffer = io.BytesIO()
    Image.fromarray(mask(*BOXES) * np.uint8(255)).save(buffer, "JPEG", quality=95)
    put(folder / "masks" / "00.jpg", buffer.getvalue())
    line = {"question_id": 0, "image": "a.png", "text": "the free places", "category": "free"}
    put(folder / "point_questions.jsonl", json.dumps(line) + "\n")
    return folder


def where2place_parquet(folder: Path) -> Path:
    row = {"question_id": 0, "image": {"bytes": photo()}, "question": "the free places",
           "mask": {"bytes": gray(*BOXES)}}  # fmt: skip
    return parquet(folder / "test.parquet", [row])


def refspatial(folder: Path) -> Path:
    put(folder / "Location" / "image" / "0.png", photo())
    put(folder / "Location" / "mask" / "0.png", gray(*BOXES))
    row = {"id": 0, "object": "the mugs", "prompt": "Please point out the mugs.", "suffix": "Your answer ...",
           "rgb_path": "image/0.png", "mask_path": "mask/0.png", "category": "location", "step": 1}  # fmt: skip
    put(folder / "Location" / "question.json", [row])
    return folder


def refspatial_parquet(folder: Path) -> Path:
    row = {"id": 0, "image": {"bytes": photo()}, "mask": {"bytes": gray(*BOXES)}, "object": "the mugs", "prompt": "Please",
           "suffix": "Your", "step": 2}  # fmt: skip
    return parquet(folder / "data" / "location-00000-of-00001.parquet", [row]).parents[1]


_TUPLES = "Your answer should be formatted as a list of tuples, i.e. [(x1, y1), ...]."


def robospatial(folder: Path) -> Path:
    put(folder / "images" / "img_context_0.png", photo())
    x0, y0, x1, y1 = (v / s for v, s in zip(BOXES[0], (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True))
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    rows = [
        {"category": "context", "question": f"Pinpoint the free space left of the mug. {_TUPLES}", "answer": str(corners),
         "img": "images/img_context_0.png", "depth_image": None, "mask": None},
        {"category": "configuration", "question": "Is it left? Answer yes or no.", "answer": "yes",
         "img": "images/img_context_0.png", "depth_image": None, "mask": None},
    ]  # fmt: skip
    put(folder / "annotations.json", rows)
    return folder


def _wide(box: tuple[int, int, int, int]) -> list[int]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _element(box: list[Any], **more: Any) -> dict[str, Any]:
    return {"img_filename": "a.png", "instruction": "open the mug", "bbox": box, **more}


def screenspot(folder: Path) -> Path:
    put(folder / "screenspot_imgs" / "a.png", photo())
    kinds = ("text", "icon")
    rows = [
        _element(_wide(box), data_type=kind, data_source="shop")
        for box, kind in zip(BOXES, kinds, strict=True)
    ]
    put(folder / "screenspot_web.json", rows)
    return folder


def screenspot_v2(folder: Path) -> Path:
    put(folder / "screenspotv2_image" / "a.png", photo())
    put(folder / "screenspot_desktop_v2.json", [_element(_wide(BOXES[0]), data_type="icon", data_source="windows")])  # fmt: skip
    put(folder / "screenspot_mobile_v2.json", [_element(_wide(BOXES[1]), data_type="text", data_source="ios")])  # fmt: skip
    return folder


def screenspot_parquet(folder: Path) -> Path:
    box = [v / s for v, s in zip(BOXES[0], (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True)]
    row = {"file_name": "a.png", "image": {"bytes": photo()}, "instruction": "open the mug", "bbox": box, "data_type": "icon",
           "data_source": "windows"}  # fmt: skip
    return parquet(folder / "test.parquet", [row])


def screenspot_pro(folder: Path) -> Path:
    put(folder / "images" / "cad" / "a.png", photo())
    common = {"img_filename": "cad/a.png", "img_size": [WIDTH, HEIGHT], "application": "autocad", "group": "CAD",
              "platform": "windows", "ui_type": "icon"}  # fmt: skip
    rows = [
        {**common, "id": "autocad_0", "instruction": "open the mug", "bbox": list(BOXES[0])},
        {**common, "id": "autocad_1", "instruction": "the zebra", "gt_type": "negative"},
    ]
    put(folder / "annotations" / "autocad.json", rows)
    return folder


def yolo_pose(folder: Path) -> Path:
    put(folder / "images" / "val" / "a.png", photo())
    lines = [
        f"0 {x} {y} {(b[2] - b[0]) / WIDTH} {(b[3] - b[1]) / HEIGHT} {x} {y} 2"
        for (x, y), b in zip(CENTRES, BOXES, strict=True)
    ]
    put(folder / "labels" / "val" / "a.txt", "\n".join(lines))
    put(folder / "data.yaml", "path: .\nval: images/val\nnames:\n  0: mugs\nkpt_shape: [1, 3]\n")
    return folder


def coco_masks(folder: Path) -> Path:
    """One object as run lengths, one as a polygon, one as a box."""
    put(folder / "a.png", photo())
    x0, y0, x1, y1 = BOXES[1]
    flat = mask(BOXES[0]).T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat.astype(int), [0]))))
    counts = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    common = {"image_id": 1, "category_id": 1}
    dataset = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 1, "name": "mugs"}, {"id": 2, "name": "mug"}],
        "annotations": [
            {"id": 1, **common, "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}, "bbox": _wide(BOXES[0])},
            {"id": 2, **common, "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]], "bbox": _wide(BOXES[1])},
            {"id": 3, "image_id": 1, "category_id": 2, "bbox": _wide(BOXES[0])},
        ],
    }  # fmt: skip
    return put(folder / "instances.json", dataset)


Writer = Callable[[Path], Path]

LAYOUT_WRITERS: dict[str, tuple[Writer, ...]] = {
    "pixmo-points": (pixmo_points,),
    "pixmo-count": (pixmo_count,),
    "countbenchqa": (countbenchqa,),
    "tallyqa": (tallyqa,),
    "point-bench": (point_bench,),
    "where2place": (where2place, where2place_parquet),
    "refspatial": (refspatial, refspatial_parquet),
    "robospatial": (robospatial,),
    "screenspot": (screenspot, screenspot_parquet),
    "screenspot-v2": (screenspot_v2,),
    "screenspot-pro": (screenspot_pro,),
    "yolo-pose": (yolo_pose,),
    "coco": (coco_masks,),
}
"""For each layout, the functions that write a set of it into a folder and return what is given to `eval`."""
