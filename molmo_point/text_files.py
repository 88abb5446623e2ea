"""Text files that users bring, in the encodings that editors and shells write."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a file with line breaks as "\\n".

    UTF-8 with or without a byte order mark, or UTF-16 with one: Windows PowerShell 5 writes that for `> file`.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: Another encoding (a ValueError).
    """
    data = Path(path).read_bytes()
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if utf16 else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of JSON Lines that are not blank, with their numbers from 1.

    Only "\\n" ends a line: strings of JSON may contain the other line breaks of Unicode (U+2028, U+0085), where `splitlines`
    cuts.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line
