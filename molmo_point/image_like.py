"""`ImageLike`: everything that is taken for an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

ImageLike = Union[
    str,
    "os.PathLike[str]",
    bytes,
    bytearray,
    memoryview,
    "PIL.Image.Image",
    "np.ndarray[Any, Any]",
]
"""A path, the bytes of a PNG or JPEG (or any file Pillow reads), a PIL image, or an (H, W, 3) uint8 RGB array."""
