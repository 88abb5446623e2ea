"""Which page of a TIFF file is the image: not the small preview that some writers put first."""

from __future__ import annotations

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from molmo_point.errors import ImageError

_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
_REDUCED = 1
MAX_PAGES = 32
"""How many pages are looked at for the first one of full resolution."""


def seek_full_page(image: Image.Image, name: str) -> None:
    """Go to the first page that does not call itself a reduced image.

    Raises:
        ImageError: There is none, and the file says that the full image is in a place that is not read: a camera's raw photo.
    """
    if not isinstance(image, TiffImageFile) or not _is_reduced(image):
        return
    tags = image.tag_v2
    raw = _SUB_IFDS in tags or _DNG_VERSION in tags
    for page in range(1, MAX_PAGES):
        try:
            image.seek(page)
        except EOFError:
            break
        if not _is_reduced(image):
            return
    if raw:
        raise ImageError(
            f"{name} is a camera's raw photo (DNG, NEF, ARW) with a small preview: export it as JPEG first"
        )
    image.seek(0)


def _is_reduced(image: TiffImageFile) -> bool:
    kind = image.tag_v2.get(_SUBFILE_TYPE, 0)
    return isinstance(kind, int) and bool(kind & _REDUCED)
