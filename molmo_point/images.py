"""Pictures in: whatever a user has, made into an (H, W, 3) uint8 RGB array, upright, with its limits checked first.

EXIF orientation is applied by default, as in Molmo's training (the published image processor forgets to:
`exif=False` reproduces it). Alpha is dropped, not blended, as in the reference. Of an animation the first frame counts.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from molmo_point.errors import ImageError

if TYPE_CHECKING:
    from molmo_point.pointer import ImageLike

MAX_PIXELS = 100_000_000
"""Refuse larger pictures before decoding them: 100 megapixels are 300 MB of RGB, and no Molmo sees more than 6 of them."""

MAX_FILE_BYTES = 256 * 1024 * 1024

Array = np.ndarray[Any, np.dtype[np.uint8]]


def load_image(source: ImageLike, *, exif: bool = True, max_pixels: int = MAX_PIXELS) -> Array:
    """Read a picture.

    Args:
        source: Path, file bytes, `data:` URL, PIL image, or array: (H, W, 3) RGB uint8, or (H, W) grey uint8.
        exif: Turn the picture upright as its EXIF orientation says.
        max_pixels: Largest width x height that is decoded.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous. An array that already is one is returned as it is, not copied.

    Raises:
        ImageError: Not a picture, truncated, too large, or an array of another shape or type.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        _check_size(source.size, max_pixels, "the picture")
        return _to_rgb(source, exif, "the picture")
    name, data = _read(source)
    return _decode(data, name, exif, max_pixels)


def _read(source: object) -> tuple[str, bytes]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the image bytes", bytes(source)
    if isinstance(source, str) and source.startswith("data:"):
        return "the data URL", _from_data_url(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            if path.is_dir():
                raise ImageError(f"{path} is a folder: give the path of one picture")
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise ImageError(
                    f"{path} has {size:,} bytes, the limit is {MAX_FILE_BYTES:,}: make the picture smaller"
                )
            return str(path), path.read_bytes()
        except FileNotFoundError:
            raise ImageError(f"there is no file {path}: check the path") from None
        except ImageError:
            raise
        except (OSError, ValueError) as error:
            raise ImageError(f"{str(path)[:200]} cannot be read: {error}") from error
    raise ImageError(
        "expected a path, image bytes, a PIL image or an (H, W, 3) uint8 RGB array, "
        f"got {type(source).__name__}"
    )


def _from_data_url(url: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise ImageError(f"expected data:image/...;base64,..., got {url[:40]!r}")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ImageError(f"the data URL's base64 is damaged: {error}") from error


def _decode(data: bytes, name: str, exif: bool, max_pixels: int) -> Array:
    if not data:
        raise ImageError(f"{name} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            # Of bombs (our own limit below is stricter and says what to do) and of damaged metadata.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                _check_size(image.size, max_pixels, name)
                return _to_rgb(image, exif, name)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} is not a picture that can be read (first bytes {data[:8]!r}): use PNG, JPEG or WebP"
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} has too many pixels, the limit is {max_pixels:,}: scale it down first ({error})"
        ) from error
    except Exception as error:
        # Pillow's readers raise whatever the damage makes them stumble over: OSError, struct.error, TypeError, KeyError.
        raise ImageError(f"{name} is damaged or cut short: {error}") from error


def _to_rgb(image: Image.Image, exif: bool, name: str) -> Array:
    try:
        if exif:
            image = ImageOps.exif_transpose(image)
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            image = _sixteen_bit(image)
        # Not np.asarray: Pillow hands out read-only views, and torch wants to write.
        return np.array(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{name} is damaged or cut short: {error}") from error


def _sixteen_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and float greys to 8 bits by their nominal range; Pillow alone would clip at 255."""
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    # Floats up to 1 are fractions; integers that fit a byte are bytes; all else counts as 16 bits.
    white = 1.0 if image.mode == "F" and top <= 1.0 else 255.0 if top <= 255.0 else 65535.0
    return Image.fromarray(np.clip(np.rint(values / white * 255.0), 0, 255).astype(np.uint8))


def _from_array(array: np.ndarray[Any, Any], max_pixels: int) -> Array:
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
