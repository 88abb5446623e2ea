"""A bound for the log lines that strangers can cause: each kind of line a few times a minute, then a count."""

from __future__ import annotations

import logging
import threading
import time

NAMES = (
    "uvicorn.error",
    "asyncio",
    "molmo_point.service.sequential",
    "molmo_point.service.decoding",
    "molmo_point.service.continuous_batching",
    "molmo_point.service.zmq.keys",
    "molmo_point.service.camera_watches",
    "molmo_point.tracking.continuous",
    "molmo_point.tracking.camera_watch",
    "molmo_point.service.worker",
    "molmo_point.service.zmq.server",
)
"""Loggers whose lines are caused by requests and connections."""


class LogLimit(logging.Filter):
    """Lets the first lines of each kind through; a kind is a logger and the text before its values are filled in.

    Args:
        lines: Of one kind in `every_s` seconds.
        every_s: Afterwards the next line says how many were left out.
    """

    def __init__(self, lines: int = 10, every_s: float = 60.0) -> None:
        super().__init__()
        self._lines = lines
        self._every_s = every_s
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        kind = (record.name, str(record.msg)[:200])
        now = time.monotonic()
        with self._lock:
            since, count = self._seen.get(kind, (now, 0))
            left_out = 0
            if now - since >= self._every_s:
                left_out, since, count = max(0, count - self._lines), now, 0
            if (
                len(self._seen) > 1000
            ):  # texts that hold their values: forget them rather than grow
                self._seen.clear()
            self._seen[kind] = (since, count + 1)
        if left_out:
            record.msg = f"{record.msg} ({left_out} more lines of this kind were left out)"
        return count < self._lines

    def __enter__(self) -> LogLimit:
        for name in NAMES:
            logging.getLogger(name).addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        for name in NAMES:
            logging.getLogger(name).removeFilter(self)
