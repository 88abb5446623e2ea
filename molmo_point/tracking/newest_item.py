"""Hands items from one thread to another: one that is not taken in time is replaced by the next."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestItem(Generic[T]):
    """Room for one item, the newest."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Take the place of an item that still waits; returns at once."""
        with self._changed:
            self._item = item
            self._changed.notify_all()

    def take(self, timeout_s: float) -> T | None:
        """Wait for an item and take it out; None after `timeout_s` seconds, and at once when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """End every `take`, now and later; an item that waits is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed
