"""Colour of 16 bits a channel (PNG, TIFF): Pillow keeps the upper byte; where that is dark, the lower one is read, too.

A 12-bit image in 16 bits would otherwise be nearly black. Images that use the upper half of the range keep Pillow's values.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from molmo_point.images.levels import to_eight_bits, top_of

Bytes = NDArray[np.uint8]

_DEEP = re.compile(r"(RGB[AX]?|LA);16([BLN])$")
_NATIVE = "L" if sys.byteorder == "little" else "B"


def is_deep(image: Image.Image) -> bool:
    """Return whether an opened, not yet decoded file has 16 bits a channel, of which Pillow would keep the upper bytes."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return any(_DEEP.match(_raw_mode(tile)) for tile in tiles)


def is_dark(upper: Bytes) -> bool:
    """Return whether an image of upper bytes leaves the upper half of the range empty."""
    return top_of(upper) < 128


def keep_lower_bytes(image: ImageFile.ImageFile) -> bool:
    """Let an opened file be decoded to its lower bytes; return whether they are in the second channel (grey with alpha)."""
    grey = any(_raw_mode(tile).startswith("LA") for tile in image.tile)
    image.tile = [_swapped(tile) for tile in image.tile]
    return grey


def joined(upper: Bytes, lower: Bytes, grey: bool) -> Bytes:
    """Return (H, W, 3) uint8 of both bytes, with the range that 16-bit greys get (`molmo_point.images.levels`)."""
    return to_eight_bits(upper.astype(np.uint16) << 8 | (lower[..., 1:2] if grey else lower))


def _raw_mode(tile: Any) -> str:
    """Return how the bytes of a tile are packed: a decoder's only argument, or its first one."""
    words = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    return str(words[0]) if words else ""


def _swapped(tile: Any) -> Any:
    """Return the tile with its bytes in the other order: of these, Pillow keeps the lower ones."""
    found = _DEEP.match(_raw_mode(tile))
    if found is None:
        return tile
    mode, order = found.groups()
    other = "B" if (_NATIVE if order == "N" else order) == "L" else "L"
    # There is no other order of LA: four plain bytes are both of the grey and both of alpha.
    raw = "RGBA" if mode == "LA" else f"{mode};16{other}"
    return tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
