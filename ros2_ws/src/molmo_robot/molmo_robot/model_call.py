"""One question to a `Pointer` on a thread of its own: its caller can lose patience, be cancelled and watch points arrive."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, Union

from molmo_point.errors import PointError
from molmo_point.images import Array
from molmo_point.pointer import PointStream
from molmo_point.points import Point, Pointing
from molmo_robot.errors import DeadlinePassed, QueueFull, Withdrawn

GRACE_S = 0.5
"""A model that runs out of its time answers `truncated`; this is how long that answer may be on its way."""

POLL_S = 0.02
"""How often a waiting request looks whether it was cancelled: far below the 0.2 s a client may notice."""

Event = Union[Point, Pointing, PointError]


class Asker(Protocol):
    """The part of a `Pointer` that robots need."""

    @property
    def model(self) -> str:
        """Name of the model that answers."""

    def stream(
        self,
        image: Array,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        """As `Pointer.stream`."""

    def close(self) -> None:
        """As `Pointer.close`."""


class Line:
    """Counts the questions under way; the model answers them in the order they came.

    A place is kept until the model is done with the question, even where its caller has left: the model is as busy as it is.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self._lock = threading.Lock()

    def enter(self, limit: int) -> int:
        """Take a place; returns how many are before it.

        Raises:
            QueueFull: `limit` places are taken.
        """
        with self._lock:
            if self._under_way >= limit:
                raise QueueFull(
                    f"{self._under_way} requests are under way and max_queue is {limit}: try again later"
                )
            self._under_way += 1
            return self._under_way - 1

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self._under_way -= 1

    def __len__(self) -> int:
        return self._under_way


def ask(
    pointer: Asker,
    image: Array,
    query: str,
    *,
    timeout_s: float,
    cancelled: Callable[[], bool],
    on_point: Callable[[Point], None],
    done: Callable[[], None],
    stamp_ns: int | None = None,
    frame_id: str | None = None,
) -> Pointing:
    """Ask one question and wait for its answer.

    Args:
        pointer: Who answers.
        image: (H, W, 3) uint8 RGB.
        query: What to point to.
        timeout_s: For the whole answer.
        cancelled: Looked at every `POLL_S` seconds; True withdraws the question, also from the model.
        on_point: Called on this thread with each point as soon as it is complete.
        done: Called once, on the thread that asked, when the model is done with the question.
        stamp_ns: Of the picture, passed through.
        frame_id: Of the picture, passed through.

    Raises:
        Withdrawn: `cancelled` became True.
        DeadlinePassed: No answer, not even a truncated one.
        PointError: What the pointer raised.
    """
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    asking = _Asking()
    deadline = time.monotonic() + timeout_s + GRACE_S

    def work() -> None:
        try:
            stream = pointer.stream(
                image, query, timeout_s=timeout_s, stamp_ns=stamp_ns, frame_id=frame_id
            )
            for event in asking.events(stream):
                events.put(event)
        except PointError as error:
            events.put(error)
        except Exception as error:  # a pointer's own bug must not leave the caller waiting
            events.put(
                PointError(f"{type(pointer).__name__} failed: {type(error).__name__}: {error}")
            )
        finally:
            done()

    threading.Thread(target=work, name="molmo-point ask", daemon=True).start()
    try:
        return _receive(events, cancelled, deadline, timeout_s, on_point)
    finally:
        asking.withdraw()


class _Asking:
    """A question under way: read by one thread, withdrawn by another."""

    def __init__(self) -> None:
        self._withdrawn = False
        self._stream: PointStream | None = None

    def events(self, stream: PointStream) -> Iterator[Event]:
        """Yield the points and the answer, until it is withdrawn."""
        # In this order, and in `withdraw` in the other one: one of the two threads sees what the other has written.
        self._stream = stream
        with contextlib.closing(stream):
            while not self._withdrawn:
                try:
                    yield next(stream)
                except StopIteration as stop:
                    self._stream = None
                    yield stop.value
                    return

    def withdraw(self) -> None:
        """Ask for no more; a server's stream can be cancelled from here and need not wait for its next point to hear of it."""
        self._withdrawn = True
        cancel = getattr(self._stream, "cancel", None)
        if cancel is not None:
            cancel()


def _receive(
    events: queue.SimpleQueue[Event],
    cancelled: Callable[[], bool],
    deadline: float,
    timeout_s: float,
    on_point: Callable[[Point], None],
) -> Pointing:
    while True:
        try:
            event = events.get(timeout=POLL_S)
        except queue.Empty:
            if cancelled():
                raise Withdrawn("the request was cancelled") from None
            if time.monotonic() > deadline:
                raise DeadlinePassed(
                    f"no answer within {timeout_s:.2f} s: is the server overloaded, or the timeout too short?"
                ) from None
            continue
        if isinstance(event, PointError):
            raise event
        if isinstance(event, Pointing):
            return event
        on_point(event)
        if cancelled():
            raise Withdrawn("the request was cancelled")
