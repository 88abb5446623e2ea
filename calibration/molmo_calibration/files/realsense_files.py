"""Intrinsics of RealSense cameras: what `rs-enumerate-devices -c` prints, and JSON of rs2_intrinsics.

JSON has the names of librealsense (width, height, fx, fy, ppx, ppy, model, coeffs), for one stream or
for several under their names. The printed listing has one block for every stream and resolution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from molmo_calibration.cameras.camera import Camera
from molmo_calibration.cameras.lens import model_name
from molmo_calibration.errors import CameraFileError
from molmo_calibration.files.file_fields import entry, list_entry, number_entry, whole_entry

_KEYS = {"fx", "fy", "ppx", "ppy"}
_BLOCK = re.compile(r'^\s*Intrinsic of "([^"]+)" / (\d+x\d+)', re.MULTILINE)
_LINE = re.compile(
    r"^\s*(Width|Height|PPX|PPY|Fx|Fy|Distortion|Coeffs):\s*(.+?)\s*$", re.MULTILINE
)
_MODELS = {"brown_conrady": "plumb_bob"}


def is_realsense(data: Mapping[str, Any]) -> bool:
    """Whether a mapping is the intrinsics of one stream, or of several by name."""
    return set(data) >= _KEYS or any(
        isinstance(value, Mapping) and set(value) >= _KEYS for value in data.values()
    )


def realsense_streams(text: str) -> dict[str, dict[str, Any]]:
    """Streams of a printed listing by name, such as "Color 640x480"; empty for any other text."""
    starts = list(_BLOCK.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    streams: dict[str, dict[str, Any]] = {}
    for start, end in zip(starts, ends, strict=False):
        lines = dict(_LINE.findall(text[start.end() : end]))
        stream: dict[str, Any] = {
            name.lower(): lines[name]
            for name in ("Width", "Height", "PPX", "PPY", "Fx", "Fy")
            if name in lines
        }
        stream["model"] = lines.get("Distortion", "")
        stream["coeffs"] = lines.get("Coeffs", "").split()
        streams[f"{start.group(1)} {start.group(2)}"] = stream
    return streams


def camera_from_realsense(data: Mapping[str, Any], name: str | None, source: str) -> Camera:
    """The camera of one stream.

    Args:
        data: intrinsics, or a mapping from names to them.
        name: of the stream, or its beginning; may be left out if there is only one.
        source: of the data, for messages.

    Raises:
        CameraFileError: no such stream, several that fit, or a key is missing.
        InvalidArgumentError: a lens that is not known here.
    """
    if not set(data) >= _KEYS:
        streams = [key for key, value in data.items() if isinstance(value, Mapping)]
        fitting = [key for key in streams if name is None or key.lower().startswith(name.lower())]
        exact = [key for key in fitting if key == name]
        if len(exact or fitting) != 1:
            raise CameraFileError(
                f"{source} holds the streams {', '.join(streams)}; name one (--camera-name), got "
                f"{name!r}"
            )
        chosen = (exact or fitting)[0]
        data, source = data[chosen], f"{source}, {chosen}"
    fx, fy, cx, cy = (number_entry(data, key, source) for key in ("fx", "fy", "ppx", "ppy"))
    coefficients = list_entry(data, "coeffs", source)
    numbers = [number_entry({"c": c}, "c", f"{source}, coeffs") for c in coefficients]
    words = str(entry(data, "model", source)).lower().replace("distortion.", "")
    lens = words.strip().replace(" ", "_")
    model = model_name(_MODELS.get(lens, lens), numbers)
    return Camera(
        whole_entry(data, "width", source),
        whole_entry(data, "height", source),
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        np.array(numbers if model != "none" else []),
        model,
    )
