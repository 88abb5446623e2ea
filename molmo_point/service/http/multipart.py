"""A multipart body in memory, split into its parts without copying them: no temporary file is ever written."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header

from molmo_point.errors import UsageError
from molmo_point.wire.messages import MOST_PARTS

MAX_PARTS = 32 + MOST_PARTS
"""Fields of a question and its images, with room."""

MAX_HEADER = 8 * 1024
"""Bytes of one part's headers."""

MAX_BLANKS = 80
"""Blanks that may follow a boundary, and the line break."""

MAX_FIELD = 64 * 1024
"""Bytes of a field that is no file."""


_ENCODED_FILE_NAME = re.compile(rb";\s*filename\*\s*=", re.IGNORECASE)
"""How some clients give names beyond ASCII (RFC 5987); python-multipart leaves it out."""


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Of the field.
        is_file: Whether it has a file name.
        data: Its bytes, a view of the body.
    """

    name: str
    is_file: bool
    data: memoryview

    def text(self) -> str:
        """Return the value of a field.

        Raises:
            UsageError: Too long, or not UTF-8.
        """
        if len(self.data) > MAX_FIELD:
            raise UsageError(f"the field {self.name[:40]!r} has more than {MAX_FIELD:,} bytes")
        try:
            return bytes(self.data).decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"the field {self.name[:40]!r} is not UTF-8: {error}") from None


def parts_of(body: bytearray, content_type: str) -> list[Part]:
    """Split a multipart/form-data body; its time is linear in its length, whatever it holds.

    Args:
        body: The whole body; the parts are views of it.
        content_type: With its boundary.

    Raises:
        UsageError: It is none, is cut short, or has too many parts.
    """
    boundary = _options(content_type).get(b"boundary")
    if not boundary or len(boundary) > 200:
        raise _wrong("its Content-Type has no boundary")
    # The first boundary has no line in front of it, unless there is a preamble.
    opening, line = b"--" + boundary, b"\r\n--" + boundary
    place = 0 if body.startswith(opening) else body.find(line) + 2
    if place < 2 and not body.startswith(opening):
        raise _wrong("its boundary is missing")
    place += len(opening)
    parts: list[Part] = []
    while not body.startswith(b"--", place):
        begin = body.find(b"\r\n", place, place + MAX_BLANKS)
        if begin < 0 or bytes(body[place:begin]).strip(b" \t"):
            raise _wrong("something else follows a boundary")
        if len(parts) >= MAX_PARTS:
            raise UsageError(f"expected at most {MAX_PARTS} parts in a multipart body")
        end = body.find(line, begin)
        if end < 0:
            raise _wrong("it is cut short, or its last boundary is missing")
        parts.append(_part(body, begin, end))
        place = end + len(line)
    return parts


def _part(body: bytearray, begin: int, end: int) -> Part:
    """Read one part: from the line break behind its boundary to the one before the next."""
    blank = body.find(b"\r\n\r\n", begin, min(end + 2, begin + MAX_HEADER))
    if blank < 0:
        raise _wrong(f"a part has no end of its headers within {MAX_HEADER:,} bytes")
    for header in bytes(body[begin:blank]).split(b"\r\n"):
        name, _, value = header.partition(b":")
        if name.strip().lower() == b"content-disposition":
            options = _options(value)
            if b"name" not in options:
                break
            data = memoryview(body)[blank + 4 : max(end, blank + 4)]
            is_file = b"filename" in options or _ENCODED_FILE_NAME.search(value) is not None
            return Part(options[b"name"].decode("utf-8", "replace"), is_file, data)
    raise _wrong("a part has no name")


@functools.lru_cache(maxsize=64)  # clients send the same few headers with every request
def _options(header: str | bytes) -> dict[bytes, bytes]:
    return parse_options_header(header)[1]


def _wrong(problem: str) -> UsageError:
    return UsageError(f"the body is not multipart/form-data: {problem}")
