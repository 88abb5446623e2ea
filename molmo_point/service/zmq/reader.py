"""Two threads share one socket: the idle worker reads it directly; while the worker is busy, the socket's own thread does.

A request that finds the model free then changes no thread on its way there and back: a thread switch each way is a fifth of what
the server adds to a request. While the model works, health, refusals and cancellations are still answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import zmq

from molmo_point.defaults import SHUTDOWN_GRACE_S
from molmo_point.service.zmq.shared_socket import EXCLUSIVE, SharedSocket


class LeaderFollowerReader:
    """Reads one socket from two threads, one at a time; an `IdleTask` of the worker.

    Args:
        socket: What is read.
        handle: Takes one message; must neither wait nor raise.
    """

    def __init__(self, socket: SharedSocket, handle: Callable[[list[zmq.Frame]], None]) -> None:
        self._socket = socket
        self._handle = handle
        self._leader_waiter, self._own_waiter = socket.waiters
        # Messages are handled in the order of their arrival, in either thread.
        self._turn = threading.Lock()
        self._leading = threading.Lock()
        self._leader: int | None = None
        # Without an exclusive wait both threads would wake up for each message.
        self._closed = not EXCLUSIVE

    def read(self, timeout_s: float) -> None:
        """Wait for messages and handle them, unless the worker does. For the socket's own thread."""
        self._own_waiter.wait(timeout_s)
        with self._turn:
            self._socket.report()
        self._drain(lambda: False)

    def run(self, timeout_s: float, enough: Callable[[], bool]) -> bool:
        """Read in the other thread's place until `enough()` or for `timeout_s` seconds; return False once closed."""
        with self._leading:
            if self._closed:
                return False
            self._leader = threading.get_ident()
            try:
                self._run(time.monotonic() + timeout_s, enough)
            finally:
                self._leader = None
                # A message that arrived just now woke only this thread.
                self._socket.release_reader()
        return True

    def _run(self, end: float, enough: Callable[[], bool]) -> None:
        while not self._closed and not enough():
            self._drain(enough)
            left_s = end - time.monotonic()
            if enough() or left_s <= 0:
                return
            self._leader_waiter.wait(left_s)

    def _drain(self, enough: Callable[[], bool]) -> None:
        with self._turn:
            while not enough():
                frames = self._socket.receive()
                if frames is None:
                    return
                self._handle(frames)

    def wake(self) -> None:
        """Make `run` check `enough` now; from any thread."""
        if self._leader not in (None, threading.get_ident()):
            self._leader_waiter.wake()

    def close(self) -> None:
        """Make `run` return, and wait until it has."""
        self._closed = True
        self._leader_waiter.wake()
        if self._leading.acquire(timeout=SHUTDOWN_GRACE_S):
            self._leading.release()
