"""Ending a request that is under way, from any thread and at once: `CancelToken`, and the streams that carry one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class CancelToken:
    """Tells an exchange to end, from any thread, and wakes the thread that waits for its replies."""

    def __init__(self) -> None:
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def cancelled(self) -> bool:
        """Whether the request is to end."""
        return self._cancelled

    def cancel(self) -> None:
        """End the request without waiting for it. From any thread; further calls do nothing."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            for callback in self._callbacks:
                callback()

    @contextlib.contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within the block, call `callback` on cancellation, at once if it is cancelled already. It must not block or raise."""
        with self._lock:
            self._callbacks.append(callback)
            if self._cancelled:
                callback()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)


class CancellableStream(Generator[Item, None, Result]):
    """A stream that another thread can end: `cancel` wakes a `next` that waits, which then raises `Cancelled`.

    Args:
        body: The stream itself.
        cancel_token: What `body` listens to.
    """

    def __init__(self, body: Generator[Item, None, Result], cancel_token: CancelToken) -> None:
        self._body = body
        self._cancel_token = cancel_token

    def cancel(self) -> None:
        """Cancel the request, also from the model; returns at once. Unlike `close` it may be called from any thread."""
        self._cancel_token.cancel()

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
        """As every generator: cancels a request that is not finished. For the thread that reads the stream."""
        self._body.close()
