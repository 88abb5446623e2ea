"""Images in: whatever a user has, made into an (H, W, 3) uint8 RGB array, upright, with its limits checked first.

load           any source to an array
source         a path, a URL of this machine, or bytes to the bytes of a file
base64_text    base64 and `data:` URLs to bytes
formats        which file formats are read, and what a file begins like
png_chunks     the chunks of a PNG that its pixels need
tiff_pages     which page of a TIFF is the image
levels         16-bit and float values to 8 bits
deep_colour    16-bit colour
"""

from molmo_point.images.base64_text import decode_base64
from molmo_point.images.formats import FileFormat, sniff
from molmo_point.images.load import MAX_PIXELS, Array, decode_file, load_image
from molmo_point.images.source import MAX_FILE_BYTES, file_bytes, printable

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "Array",
    "FileFormat",
    "decode_base64",
    "decode_file",
    "file_bytes",
    "load_image",
    "printable",
    "sniff",
]
