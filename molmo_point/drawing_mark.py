"""Drawings carry a mark, so that they are told from the user's own files: only a drawing is ever replaced by a drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MARK = "molmo-point drawing"
SOFTWARE = 0x0131
"""EXIF tag that holds MARK."""


def marked(format_name: str) -> dict[str, Any]:
    """Return the options of `PIL.Image.save` that write the mark into a file of a format."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if format_name == "PNG":
        text = PngInfo()
        text.add_text("Software", MARK)
        return {"pnginfo": text}
    exif = Image.Exif()
    exif[SOFTWARE] = MARK
    return {"exif": exif}


def is_our_drawing(path: Path) -> bool:
    """Whether a file is a drawing that this package wrote; False where it cannot be read. No pixels are decoded."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.info.get("Software") == MARK:
                return True
            # Asked for EXIF that is not there, Pillow decodes a whole PNG to look behind its pixels.
            return "exif" in image.info and image.getexif().get(SOFTWARE) == MARK
    except Exception:
        # Pillow raises whatever damage makes it stumble over; what it cannot read is nothing of ours.
        return False
