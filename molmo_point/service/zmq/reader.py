"""Who reads the questions: the worker itself while it has nothing else to do, the socket's own thread while the worker works.

A question that finds the model free then changes no thread on its way there and back, which would be a fifth of what the bridge
costs. While the model works, health, refusals and withdrawals are answered all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import zmq

from molmo_point.service.zmq.shared_socket import EXCLUSIVE, SharedSocket

LEAVE_S = 5.0
"""How long a helper may take to come back from the one message it is at when the socket closes."""


class Reading:
    """Two readers of one socket, one at a time.

    Args:
        socket: What is read.
        handle: Takes one message; must neither wait nor raise.
    """

    def __init__(self, socket: SharedSocket, handle: Callable[[list[zmq.Frame]], None]) -> None:
        self._socket = socket
        self._handle = handle
        self._helpers, self._own = socket.ears
        # Messages are handled in the order of their arrival, whoever reads them.
        self._turn = threading.Lock()
        self._helping = threading.Lock()
        self._helper: int | None = None
        # Two who wait for the same message would be in each other's way.
        self._closed = not EXCLUSIVE

    def read(self, timeout_s: float) -> None:
        """Wait for messages and handle them, unless a helper does. For the socket's own thread."""
        self._own.wait(timeout_s)
        with self._turn:
            self._socket.report()
        self._drain(lambda: False)

    def help(self, timeout_s: float, enough: Callable[[], bool]) -> bool:
        """Read in the other thread's place until `enough()` or for `timeout_s` seconds; return False where that cannot be."""
        with self._helping:
            if self._closed:
                return False
            self._helper = threading.get_ident()
            try:
                self._help(time.monotonic() + timeout_s, enough)
            finally:
                self._helper = None
                # A message that came this moment woke nobody but us.
                self._socket.leave()
        return True

    def _help(self, end: float, enough: Callable[[], bool]) -> None:
        while not self._closed and not enough():
            self._drain(enough)
            left_s = end - time.monotonic()
            if enough() or left_s <= 0:
                return
            self._helpers.wait(left_s)

    def _drain(self, enough: Callable[[], bool]) -> None:
        with self._turn:
            while not enough():
                frames = self._socket.receive()
                if frames is None:
                    return
                self._handle(frames)

    def wake(self) -> None:
        """Make a helper look whether it is enough; from any thread."""
        if self._helper not in (None, threading.get_ident()):
            self._helpers.wake()

    def close(self) -> None:
        """Send the helper away; returns when it is gone."""
        self._closed = True
        self._helpers.wake()
        if self._helping.acquire(timeout=LEAVE_S):
            self._helping.release()
