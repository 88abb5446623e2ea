"""What goes to the terminal: characters that must not steer it, and a stdout that cannot take the result, which must not look
like success.
"""

from __future__ import annotations

import errno
import io
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_STEERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of the text behind them."""


def visible(text: str, keep: str = "") -> str:
    """Escape control and direction characters: the name of a file or the words of a model must not steer a terminal.

    Args:
        keep: Control characters that stay, such as line breaks.
    """
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if character not in keep
        and (unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _STEERING)
        else character
        for character in text
    )


class Stdout:
    """Says whether what was written to stdout has arrived."""

    def __init__(self, raw: _Descriptor | _Closed | None) -> None:
        self._raw = raw

    def lost(self) -> OSError | None:
        """Return why output could not be written, or None; a reader that has left (`| head`) is no loss."""
        try:
            sys.stdout.flush()
        except OSError as error:
            return _unless_reader_left(error)
        return None if self._raw is None else _unless_reader_left(self._raw.failure)


class _Descriptor(io.FileIO):
    """File descriptor 1; after the first failure everything is discarded, so that nothing fails again at the exit."""

    failure: OSError | None = None

    def write(self, data: ReadableBuffer) -> int:
        if self.failure is not None:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            raise


class _Closed(io.RawIOBase):
    """Stands for a stdout that the caller has closed: the first write fails."""

    failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        if self.failure is None:
            self.failure = OSError(errno.EBADF, "stdout is closed")
            raise self.failure
        return memoryview(data).nbytes


def _unless_reader_left(error: OSError | None) -> OSError | None:
    return None if error is None or error.errno == errno.EPIPE else error


@contextmanager
def guarded_stdout() -> Iterator[Stdout]:
    """Watch what is written to stdout. A stdout that is not the process's own (in tests) is left as it is."""
    before = sys.stdout
    if before is not None and before is not sys.__stdout__:
        yield Stdout(None)
        return
    raw: _Descriptor | _Closed
    if before is None:
        raw, terminal, encoding, errors = _Closed(), False, "utf-8", "strict"
    else:
        before.flush()
        raw = _Descriptor(before.fileno(), "w", closefd=False)
        terminal, encoding, errors = before.isatty(), before.encoding, before.errors or "strict"
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors, line_buffering=terminal
    )
    state = Stdout(raw)
    try:
        yield state
    finally:
        state.lost()
        sys.stdout = before
