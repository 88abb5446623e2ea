"""molmo-point: an image and a few words in, points out.

>>> import molmo_point as mp
>>> pointing = mp.load("nano").point("molmo_point/nano/demo.png", "burgers")
>>> pointing.points[0].pixel(*pointing.image_size)

Values, markup, wire and client run without torch; only `load` imports it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from molmo_point.version import __version__ as __version__

if TYPE_CHECKING:
    from molmo_point.api import connect, load
    from molmo_point.convert import (
        from_coco,
        from_gemini,
        from_jsonl,
        from_label_studio,
        from_moondream,
        from_qwen,
        to_coco,
        to_csv,
        to_fiftyone,
        to_gemini,
        to_jsonl,
        to_label_studio,
        to_moondream,
        to_qwen,
        to_rows,
        to_supervision,
    )
    from molmo_point.draw import draw
    from molmo_point.errors import PointError
    from molmo_point.image_like import ImageLike
    from molmo_point.point_map import PointMap
    from molmo_point.pointer import Pointer, Video, View
    from molmo_point.points import FinishReason, Point, Pointing, Status, Text, Timing
    from molmo_point.service.serving import serve
    from molmo_point.video_file import read_video

_LAZY = {
    "PointError": "errors",
    "ImageLike": "image_like",
    "PointMap": "point_map",
    "Video": "pointer",
    "Pointer": "pointer",
    "View": "pointer",
    "Point": "points",
    "Pointing": "points",
    "FinishReason": "points",
    "Status": "points",
    "Text": "points",
    "Timing": "points",
    "load": "api",
    "connect": "api",
    "serve": "service.serving",
    "read_video": "video_file",
    "draw": "draw",
    "from_coco": "convert",
    "from_gemini": "convert",
    "from_jsonl": "convert",
    "from_label_studio": "convert",
    "to_csv": "convert",
    "to_jsonl": "convert",
    "to_rows": "convert",
    "from_moondream": "convert",
    "from_qwen": "convert",
    "from_robopoint": "convert",
    "to_robopoint": "convert",
    "from_point_tags": "convert",
    "to_point_tags": "convert",
    "from_perceptron": "convert",
    "to_perceptron": "convert",
    "to_moondream": "convert",
    "to_qwen": "convert",
    "to_supervision": "convert",
    "to_supervision_detections": "convert",
    "to_fiftyone": "convert",
    "to_label_studio": "convert",
    "to_gemini": "convert",
    "from_csv": "convert",
    "from_molmo": "convert",
    "from_molmo2": "convert",
    "from_yolo_pose": "convert",
    "to_molmo": "convert",
    "to_molmo2": "convert",
    "to_yolo_pose": "convert",
    "to_coco": "convert",
}

__all__ = [
    "FinishReason",
    "ImageLike",
    "Point",
    "PointError",
    "PointMap",
    "Pointer",
    "Pointing",
    "Status",
    "Text",
    "Timing",
    "Video",
    "View",
    "connect",
    "draw",
    "from_coco",
    "from_csv",
    "from_gemini",
    "from_jsonl",
    "from_label_studio",
    "from_molmo",
    "from_molmo2",
    "from_moondream",
    "from_perceptron",
    "from_point_tags",
    "from_qwen",
    "from_robopoint",
    "from_yolo_pose",
    "load",
    "read_video",
    "serve",
    "to_coco",
    "to_csv",
    "to_fiftyone",
    "to_gemini",
    "to_jsonl",
    "to_label_studio",
    "to_molmo",
    "to_molmo2",
    "to_moondream",
    "to_perceptron",
    "to_point_tags",
    "to_qwen",
    "to_robopoint",
    "to_rows",
    "to_supervision",
    "to_supervision_detections",
    "to_yolo_pose",
]


def __getattr__(name: str) -> object:
    """Import functions that need more than the values on first use (PEP 562)."""
    if name in _LAZY:
        module = importlib.import_module(f"molmo_point.{_LAZY[name]}")
        value: object = getattr(module, name)
        # Stored: the next use is a plain lookup, and `draw` stays the function instead of the submodule.
        globals()[name] = value
        return value
    raise AttributeError(f"module 'molmo_point' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Include the names that are imported on first use, for help and completion."""
    return sorted({*globals(), *_LAZY})
