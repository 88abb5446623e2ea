"""Ctrl+C and SIGTERM for commands that save their state before they end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""The exit code of shells for a program that Ctrl+C ended."""


@contextmanager
def catch_signals() -> Iterator[Callable[[], bool]]:
    """Catch SIGINT and SIGTERM; yield a function that tells whether one came.

    Workers inherit the handlers: a terminal sends Ctrl+C to every process, and the training process ends its workers.
    """
    asked = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signals = (signal.SIGINT, signal.SIGTERM)
    # Only the main thread may set signal handlers.
    ours = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in signals} if ours else {}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
