"""Text files that users bring, in the encodings that editors and shells write."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path


def to_utf8(data: bytes) -> bytes:
    """Return a text file's bytes as UTF-8 without a byte order mark.

    UTF-16 with such a mark is converted: Windows PowerShell 5 writes it for `> file`. Other bytes are returned as they are.

    Raises:
        UnicodeDecodeError: Damaged UTF-16 (a ValueError).
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16").encode()
    return data.removeprefix(codecs.BOM_UTF8)


def read_text(path: str | os.PathLike[str], errors: str = "strict") -> str:
    """Return the text of a file in UTF-8 or UTF-16, with line breaks as "\\n".

    Args:
        errors: As of `bytes.decode`.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: Another encoding (a ValueError).
    """
    text = to_utf8(Path(path).read_bytes()).decode("utf-8", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of JSON Lines that are not blank, with their numbers from 1.

    Only "\\n" ends a line: strings of JSON may contain the other line breaks of Unicode (U+2028, U+0085), where `splitlines`
    cuts.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line
