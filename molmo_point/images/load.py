"""`load_image`: any source to an (H, W, 3) uint8 RGB array.

EXIF orientation is applied by default, as in Molmo's training (the published image processor forgets to:
`exif=False` reproduces it). Alpha is dropped, not blended, as in the reference. Of an animation the first frame counts.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from molmo_point.errors import ImageError, PointError
from molmo_point.image_like import ImageLike
from molmo_point.images.deep_colour import is_dark, is_deep, joined, keep_lower_bytes
from molmo_point.images.formats import PILLOW_FORMATS, READABLE, other_kind, sniff
from molmo_point.images.levels import to_eight_bits
from molmo_point.images.png_chunks import without_metadata
from molmo_point.images.source import file_bytes
from molmo_point.images.tiff_pages import seek_full_page
from molmo_point.install import import_failure

MAX_PIXELS = 100_000_000
"""Refuse larger images before decoding them: 100 megapixels are 300 MB of RGB, and no Molmo sees more than 6 of them."""

Array = NDArray[np.uint8]

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, for each EXIF orientation."""


def load_image(source: ImageLike, *, exif: bool = True, max_pixels: int = MAX_PIXELS) -> Array:
    """Read an image.

    Args:
        source: Path, file bytes, `data:` URL, PIL image, or array: (H, W, 3) RGB uint8, or (H, W) grey uint8. Files may be of
            the formats in `molmo_point.images.formats`; 16-bit and float greys are scaled as `molmo_point.images.levels` says.
        exif: Turn the image upright as its EXIF orientation says (Pillow turns TIFF files always).
        max_pixels: Largest width x height that is decoded.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous. An array that already is one is returned as it is, not copied.

    Raises:
        ImageError: Not an image, truncated, too large, or an array of another shape or type.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        _check_size(source.size, max_pixels, "the image")
        return _to_rgb(source, exif, "the image")
    name, data = file_bytes(source)
    return decode_file(data, name, exif=exif, max_pixels=max_pixels)


def decode_file(
    data: bytes, name: str, *, exif: bool = True, max_pixels: int = MAX_PIXELS
) -> Array:
    """Read the bytes of an image file, called `name` in messages; otherwise as `load_image`."""
    if not data:
        raise ImageError(f"{name} is empty (0 bytes)")
    if sniff(data) == "heic":
        _register_heif(name)
    try:
        with warnings.catch_warnings():
            # Of bombs (our own limit below is stricter and says what to do) and of damaged metadata.
            warnings.simplefilter("ignore")
            return _decode(without_metadata(data), name, exif, max_pixels)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{name} {_unidentified(data)}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} has too many pixels, the limit is {max_pixels:,}: scale it down first ({error})"
        ) from error
    except Exception as error:
        # Pillow's readers raise whatever the damage makes them stumble over: OSError, struct.error, TypeError, KeyError.
        raise ImageError(f"{name} is damaged or cut short: {error}") from error


def _decode(data: bytes, name: str, exif: bool, max_pixels: int) -> Array:
    with Image.open(io.BytesIO(data), formats=_readers()) as image:
        seek_full_page(image, name)
        _check_size(image.size, max_pixels, name)
        deep = is_deep(image)
        pixels = _to_rgb(image, exif, name)
    if not (deep and is_dark(pixels)):
        return pixels
    with Image.open(io.BytesIO(data), formats=_readers()) as image:
        seek_full_page(image, name)
        grey = keep_lower_bytes(image)
        return joined(pixels, _to_rgb(image, exif, name), grey)


def _readers() -> list[str]:
    """Return which of the allowed readers this Pillow has."""
    Image.init()
    return [name for name in PILLOW_FORMATS if name in Image.OPEN]


def _unidentified(data: bytes) -> str:
    """Return what to say of a file that no reader takes."""
    known = sniff(data)
    if known is not None:
        return (
            f"is not an image that can be read: it begins like {known.upper()}, but is damaged or cut short, or of a kind that "
            "is not read: save it as 8-bit PNG or JPEG"
        )
    other = other_kind(data)
    if other is not None:
        return f"is not an image that can be read: it is {other}"
    return f"is not an image that can be read (first bytes {data[:8]!r}): use {READABLE}"


def _register_heif(name: str) -> None:
    """Let Pillow read HEIC, if the package for it is there; a second call changes nothing."""
    try:
        import pillow_heif
    except ImportError as error:
        purpose = f"{name} is a HEIC photo (iPhone); reading it"
        failure: PointError = import_failure(error, "pillow_heif", "heic", purpose)
        raise ImageError(f"{failure}; or convert the photo to JPEG") from None
    pillow_heif.register_heif_opener()


def _to_rgb(image: Image.Image, exif: bool, name: str) -> Array:
    try:
        # Before the orientation is asked for: Pillow turns TIFF files while it decodes them, and then takes it out.
        image.load()
        turn = _TURNS.get(_orientation(image)) if exif else None
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            image = Image.fromarray(to_eight_bits(np.asarray(image)))
        if turn is not None:
            image = image.transpose(turn)
        # Not np.asarray: Pillow hands out read-only views, and torch wants to write.
        return np.array(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{name} is damaged or cut short: {error}") from error


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1-8; 1 where it cannot be read: damaged metadata is not a damaged image."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (
        Exception
    ):  # Pillow's EXIF reader raises struct.error, KeyError, TypeError, SyntaxError and more
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _from_array(array: np.ndarray[Any, Any], max_pixels: int) -> Array:
    array = np.asarray(array)  # np.matrix cannot be repeated, a masked array hides values
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
    ):
        raise ImageError(
            "expected an (H, W, 3) uint8 RGB array (0-255), "
            f"got shape {array.shape} of {array.dtype}"
        )
    if 0 in array.shape:
        raise ImageError(f"the array is empty: shape {array.shape}")
    _check_size((array.shape[1], array.shape[0]), max_pixels, "the array")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return np.ascontiguousarray(array)


def _check_size(size: tuple[int, int], max_pixels: int, name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} is empty: {width}x{height} pixels")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}x{height} = {width * height:,} pixels, the limit is {max_pixels:,}: "
            "scale it down first (no Molmo sees more than a few megapixels)"
        )
