"""`StampedBuffer`: the last messages of one topic, found again by time stamp."""

from __future__ import annotations

import bisect
import threading
from typing import Generic, TypeVar

T = TypeVar("T")

JUMP_NS = 1_000_000_000
"""A stamp this much older than the newest is a clock set back (a bag looped, a simulation reset), not a late message."""

SET_BACK = 3
"""This many messages in a row that much older mean a clock set back; fewer are strays of a second publisher."""


class Strays:
    """Tells a stray message with an old stamp from a clock that was set back, on one topic."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def is_stray(self, stamp_ns: int, newest_ns: int | None) -> bool:
        """Whether the next message is a stray; one without a stamp (0) among stamped ones always is."""
        behind = newest_ns is not None and stamp_ns < newest_ns - JUMP_NS
        self._in_a_row = self._in_a_row + 1 if behind and stamp_ns else 0
        return behind and self._in_a_row < SET_BACK

    def forget(self) -> None:
        """Reset the count (the clock was set back)."""
        self._in_a_row = 0


class StampedBuffer(Generic[T]):
    """A bounded, thread-safe buffer ordered by stamp.

    Args:
        capacity: Items kept at most; the oldest leave first.
        span_s: Items older than this before the newest leave, too; None keeps them.
    """

    def __init__(self, capacity: int, span_s: float | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"expected a capacity of at least 1, got {capacity}")
        self._capacity = capacity
        self._span_ns = None if span_s is None else round(span_s * 1e9)
        self._stamps: list[int] = []
        self._items: list[T] = []
        self._lock = threading.Lock()

    def add(self, stamp_ns: int, item: T) -> bool:
        """Keep an item; one with the same stamp is replaced.

        Returns:
            True where the clock was set back (`JUMP_NS`): everything older was dropped first.
        """
        with self._lock:
            jumped = bool(self._stamps) and stamp_ns < self._stamps[-1] - JUMP_NS
            if jumped:
                self._stamps.clear()
                self._items.clear()
            at = bisect.bisect_left(self._stamps, stamp_ns)
            if at < len(self._stamps) and self._stamps[at] == stamp_ns:
                self._items[at] = item
            else:
                self._stamps.insert(at, stamp_ns)
                self._items.insert(at, item)
            self._forget()
            return jumped

    def nearest(self, stamp_ns: int, tolerance_ns: int = 0) -> tuple[int, T] | None:
        """Return (stamp, item) of exactly that stamp, else of the nearest within the tolerance, else None."""
        with self._lock:
            at = bisect.bisect_left(self._stamps, stamp_ns)
            around = [i for i in (at, at - 1) if 0 <= i < len(self._stamps)]
            if not around:
                return None
            best = min(around, key=lambda i: abs(self._stamps[i] - stamp_ns))
            if abs(self._stamps[best] - stamp_ns) > tolerance_ns:
                return None
            return self._stamps[best], self._items[best]

    def newest(self) -> tuple[int, T] | None:
        """Return (stamp, item) with the newest stamp, or None."""
        with self._lock:
            return (self._stamps[-1], self._items[-1]) if self._stamps else None

    def before(self, stamp_ns: int, count: int) -> list[tuple[int, T]]:
        """Return (stamp, item) of the last `count` items older than a stamp, the oldest first."""
        with self._lock:
            end = bisect.bisect_left(self._stamps, stamp_ns)
            start = max(0, end - count)
            return list(zip(self._stamps[start:end], self._items[start:end], strict=True))

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._stamps.clear()
            self._items.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._stamps)

    def _forget(self) -> None:
        drop = max(0, len(self._stamps) - self._capacity)
        if self._span_ns is not None:
            drop = max(drop, bisect.bisect_left(self._stamps, self._stamps[-1] - self._span_ns))
        del self._stamps[:drop]
        del self._items[:drop]
