"""A ZeroMQ socket that one thread reads and any thread writes.

Handing a reply to the reading thread first would cost a thread switch for each answer: under load half of what the bridge costs.
ZeroMQ allows a socket in several threads as long as a lock is between them, with one catch: any call may take the socket's
"something has arrived" signal, so whoever has written looks for messages and wakes the reader.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import Any

import zmq


class SharedSocket:
    """Wraps a bound socket; owns it from then on."""

    def __init__(self, socket: zmq.Socket[Any]) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._poll = select.poll()
        # ZeroMQ's own descriptor only says that something has changed, and only once: see `receive`.
        self._poll.register(int(socket.getsockopt(zmq.FD)), select.POLLIN)
        self._poll.register(self._wake_reader, select.POLLIN)
        self._closed = False

    @property
    def address(self) -> str:
        """Where it is bound."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def wait(self, timeout_s: float) -> None:
        """Wait until there may be something to receive, `wake` is called, or the time is over. For the reading thread."""
        for descriptor, _ in self._poll.poll(timeout_s * 1000):
            if descriptor == self._wake_reader:
                os.read(descriptor, 4096)

    def receive(self) -> list[zmq.Frame] | None:
        """Return the next message, or None. To be called until it returns None before the next `wait`."""
        with self._lock:
            try:
                return self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return None

    def send(self, frames: list[bytes]) -> bool:
        """Send without waiting, from any thread; return whether it could be sent."""
        with self._lock:
            if self._closed:
                return False
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK)
                sent = True
            except zmq.ZMQError:
                # The peer is gone, or does not read and its pipe is full.
                sent = False
            arrived = bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
        if arrived:
            self.wake()
        return sent

    def wake(self) -> None:
        """Make `wait` return."""
        # A full pipe means that a wake-up is on its way already; a closed one that nobody waits any more.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_writer, b"\0")

    def close(self, linger_ms: int) -> None:
        """Close the socket; what was sent gets `linger_ms` milliseconds to leave. Closing twice is allowed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._socket.close(linger_ms)
            os.close(self._wake_reader)
            os.close(self._wake_writer)
