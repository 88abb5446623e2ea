"""Ending a request that is under way, from any thread and at once: `Withdrawal`, and the streams that carry one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Withdrawal:
    """A caller's wish to end a request. Whoever waits for its replies is woken at once."""

    def __init__(self) -> None:
        self._wished = False
        self._wakers: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def wished(self) -> bool:
        """Whether the request is to end."""
        return self._wished

    def wish(self) -> None:
        """End the request; does not wait for it. From any thread, as often as one likes."""
        with self._lock:
            if self._wished:
                return
            self._wished = True
            for waker in self._wakers:
                waker()

    @contextlib.contextmanager
    def waking(self, waker: Callable[[], None]) -> Iterator[None]:
        """Within the block, call `waker` at the wish, or now where it was made before. It must neither wait nor raise."""
        with self._lock:
            self._wakers.append(waker)
            if self._wished:
                waker()
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(waker)


class WithdrawableStream(Generator[Item, None, Result]):
    """A stream that another thread can end: `cancel` wakes a `next` that waits, which then raises `Cancelled`.

    Args:
        body: The stream itself.
        withdrawal: What `body` listens to.
    """

    def __init__(self, body: Generator[Item, None, Result], withdrawal: Withdrawal) -> None:
        self._body = body
        self._withdrawal = withdrawal

    def cancel(self) -> None:
        """Withdraw the request, also from the model; returns at once. Unlike `close` it may be called from any thread."""
        self._withdrawal.wish()

    def send(self, value: None) -> Item:
        """As every generator."""
        return self._body.send(value)

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Item:
        """As every generator."""
        error = kind if isinstance(kind, BaseException) else value
        return self._body.throw(error if isinstance(error, BaseException) else kind())  # type: ignore[operator]

    def close(self) -> None:
        """As every generator: withdraws a request that is not finished. For the thread that reads the stream."""
        self._body.close()
