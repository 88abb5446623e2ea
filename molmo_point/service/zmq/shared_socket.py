"""A ZeroMQ socket that two threads read in turn and any thread writes.

Handing a reply to the reading thread first would cost a thread switch for each answer: under load half of what the bridge costs.
ZeroMQ allows a socket in several threads as long as a lock is between them, with one catch: any call may take the socket's
"something has arrived" signal. So a thread that has written, or stops reading before the end, looks for messages and
wakes the first reader, unless it is itself the one that reads on.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any

import zmq

from molmo_point.service.zmq.departures import Departures

EXCLUSIVE: int = getattr(select, "EPOLLEXCLUSIVE", 0)
"""On Linux one message wakes one waiter: the first of those that wait, in the order in which they were made."""


MAX_FRAMES = 6
"""The address, the empty frame of a REQ socket, a header, an image; more is no message of this protocol."""


class Sent(Enum):
    """What became of a message: sent; not sent because the peer does not read; not sent because it is gone."""

    YES = "yes"
    NO_ROOM = "no room"
    NOBODY = "nobody"


class Waiter:
    """One thread's way to wait for a socket, and for further file descriptors."""

    def __init__(self, socket: zmq.Socket[Any], *further: int) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._poll = select.epoll() if EXCLUSIVE else select.poll()
        # ZeroMQ's own descriptor only says that something has changed, and only once: see `SharedSocket.receive`.
        self._poll.register(int(socket.getsockopt(zmq.FD)), select.POLLIN | EXCLUSIVE)
        for descriptor in (self._reader, *further):
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, timeout_s: float) -> None:
        """Wait until there may be something to receive, `wake` is called, or the time is over."""
        timeout = max(0.0, timeout_s)
        for descriptor, _ in self._poll.poll(timeout if EXCLUSIVE else timeout * 1000):
            if descriptor == self._reader:
                os.read(descriptor, 4096)

    def wake(self) -> None:
        """Make `wait` return, now or the next time; from any thread."""
        # A full pipe means that a wake-up is on its way already; a closed one that nobody waits any more.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._writer, b"\0")

    def close(self) -> None:
        """Free the descriptors; nobody may be waiting."""
        os.close(self._reader)
        os.close(self._writer)
        if isinstance(self._poll, select.epoll):
            self._poll.close()


class SharedSocket:
    """Wraps a bound socket; owns it from then on.

    Args:
        socket: The bound socket.
        departed: Called in `report` with the name of each caller from `watch` whose connection has ended.

    Attributes:
        waiters: One for each of the two threads that may read. On Linux one message wakes the first that waits; only the thread
            of the second always comes back to read.
    """

    def __init__(
        self, socket: zmq.Socket[Any], departed: Callable[[str], None] = lambda caller: None
    ) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._departures = Departures(socket, departed)
        # Departures need no answer: the thread that always comes back handles them.
        self.waiters = (Waiter(socket), Waiter(socket, self._departures.descriptor))
        self._closed = False
        self._reader: int | None = None

    @property
    def address(self) -> str:
        """Where it is bound."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def receive(self) -> list[zmq.Frame] | None:
        """Return the next message, or None. To be called until it returns None before the next wait; else call `release_reader`.

        Of a message of more than MAX_FRAMES frames only that many are kept: it is refused, and may have millions.
        """
        with self._lock:
            if self._closed:
                return None
            try:
                frames = [self._socket.recv(zmq.NOBLOCK, copy=False)]
            except zmq.Again:
                self._reader = None
                return None
            self._reader = threading.get_ident()
            more = frames[0].more
            while more:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                more = frame.more
                if len(frames) < MAX_FRAMES:
                    frames.append(frame)
            return frames

    def watch(self, caller: str, frame: zmq.Frame) -> None:
        """As `Departures.watch`; in the thread that reads."""
        self._departures.watch(caller, frame)

    def report(self) -> None:
        """Call `departed` for each watched connection that has ended; in the thread that reads."""
        self._departures.report()

    def release_reader(self) -> None:
        """Stop reading before `receive` returned None: the other reader hears of what is left."""
        with self._lock:
            self._reader = None
            arrived = not self._closed and self._arrived()
        if arrived:
            self.waiters[1].wake()

    def send(self, frames: list[bytes]) -> Sent:
        """Send without waiting, from any thread; return what became of it."""
        with self._lock:
            if self._closed:
                return Sent.NO_ROOM
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK)
                sent = Sent.YES
            except zmq.ZMQError as error:
                sent = Sent.NOBODY if error.errno == zmq.EHOSTUNREACH else Sent.NO_ROOM
            arrived = self._reader != threading.get_ident() and self._arrived()
        if arrived:
            self.waiters[1].wake()
        return sent

    def wake(self) -> None:
        """Make both waiters' waits return."""
        for waiter in self.waiters:
            waiter.wake()

    def close(self, linger_ms: int) -> None:
        """Close the socket; what was sent gets `linger_ms` milliseconds to leave. Nobody may be waiting. Twice is allowed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._departures.close()
            self._socket.close(linger_ms)
            for waiter in self.waiters:
                waiter.close()

    def _arrived(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
