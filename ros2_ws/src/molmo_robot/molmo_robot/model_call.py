"""One question to a model on its own thread, so that the caller can time out, be cancelled and receive points as they arrive."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, Union

from molmo_point.errors import PointError
from molmo_point.pointer import PointStream
from molmo_point.points import Point, Pointing, Status
from molmo_robot.errors import DeadlinePassed, QueueFull, RequestCancelled

GRACE_S = 0.5
"""A model that runs out of its time answers `truncated`; this is how long that answer may be in transit."""

POLL_S = 0.02
"""How often a waiting request checks for cancellation, seconds; far below the 0.2 s that a client notices."""

Event = Union[Point, Pointing, PointError]


class Shown(Protocol):
    """What a question is about: a `Snapshot`, or an `ImageGroup` of several."""

    @property
    def upright(self) -> Any:
        """What the model sees: an image, several, or a `Video`."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) in pixels of it, of several images of the first."""

    @property
    def stamp_ns(self) -> int:
        """Stamp of the newest image."""

    @property
    def frame_id(self) -> str:
        """Optical frame of the first image."""

    def as_published(self, pointing: Pointing) -> Pointing:
        """Return an answer about `upright` in norm of the images as published."""


class StreamingPointer(Protocol):
    """The part of a `Pointer` that robots use."""

    @property
    def model(self) -> str:
        """Name of the model that answers."""

    def stream(
        self,
        image: Any,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        """As `Pointer.stream`; some take several images and videos, too, the others refuse them."""

    def close(self) -> None:
        """As `Pointer.close`."""


class RequestCounter:
    """Counts the requests under way; the model answers them in the order they came."""

    def __init__(self) -> None:
        self._under_way = 0
        self._lock = threading.Lock()

    def enter(self, limit: int) -> QueueSlot:
        """Count one more request.

        Raises:
            QueueFull: `limit` requests are under way.
        """
        with self._lock:
            if self._under_way >= limit:
                raise QueueFull(
                    f"{self._under_way} requests are under way and max_queue is {limit}: try again later"
                )
            self._under_way += 1
            return QueueSlot(self, self._under_way - 1)

    def leave(self) -> None:
        """Count one request less."""
        with self._lock:
            self._under_way -= 1

    def __len__(self) -> int:
        return self._under_way


class QueueSlot:
    """A counted request, to be used in a `with` block.

    Once the model is called, the slot is kept until the model is done, even where the caller has left.

    Attributes:
        before: Requests that were under way before this one.
    """

    def __init__(self, counter: RequestCounter, before: int) -> None:
        self.before = before
        self._counter = counter
        self._handed_over = False

    def hand_over(self) -> Callable[[], None]:
        """Return what the thread that calls the model gives the slot back with."""
        self._handed_over = True
        return self._counter.leave

    def __enter__(self) -> QueueSlot:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._handed_over:
            self._counter.leave()


def call_model(
    pointer: StreamingPointer,
    shown: Shown,
    query: str,
    *,
    timeout_s: float,
    cancelled: Callable[[], bool] = lambda: False,
    on_partial: Callable[[Pointing], None] = lambda partial: None,
    slot: QueueSlot | None = None,
) -> Pointing:
    """Ask one question about what the model is shown; return the answer in norm of the images as published.

    Args:
        pointer: The model.
        shown: The image, or several.
        query: What to point to.
        timeout_s: For the whole answer.
        cancelled: Read every `POLL_S` seconds; True cancels the question, also at the model.
        on_partial: Called on this thread with the points so far, as soon as a point is complete.
        slot: Given back when the model is done with the question.

    Raises:
        RequestCancelled: `cancelled` became True.
        DeadlinePassed: No answer, not even a truncated one.
        PointError: What the pointer raised.
    """
    call = _Call(pointer, shown, query, timeout_s)
    deadline = time.monotonic() + timeout_s + GRACE_S
    done = slot.hand_over() if slot else lambda: None
    so_far: list[Point] = []

    def on_point(point: Point) -> None:
        so_far.append(point)
        partial = Pointing(
            query=query,
            points=tuple(so_far),
            status=Status.TRUNCATED,
            image_size=shown.upright_size,
        )
        on_partial(shown.as_published(partial))

    threading.Thread(target=call.run, args=(done,), name="molmo-point ask", daemon=True).start()
    try:
        pointing = _receive(call.events, cancelled, deadline, timeout_s, on_point)
        return shown.as_published(pointing)
    finally:
        call.cancel()


class _Call:
    """A question under way: read by one thread, cancelled by another."""

    def __init__(
        self, pointer: StreamingPointer, shown: Shown, query: str, timeout_s: float
    ) -> None:
        self._pointer = pointer
        self._shown = shown
        self._query = query
        self._timeout_s = timeout_s
        self._cancelled = False
        self._stream: PointStream | None = None
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def run(self, done: Callable[[], None]) -> None:
        """Put the points and then the answer, or an error, into `events`; call `done` at the end."""
        try:
            self._read(
                self._pointer.stream(
                    self._shown.upright,
                    self._query,
                    timeout_s=self._timeout_s,
                    stamp_ns=self._shown.stamp_ns,
                    frame_id=self._shown.frame_id,
                )
            )
        except PointError as error:
            self.events.put(error)
        except Exception as error:  # a pointer's own bug must not leave the caller waiting
            name = type(self._pointer).__name__
            self.events.put(PointError(f"{name} failed: {type(error).__name__}: {error}"))
        finally:
            done()

    def cancel(self) -> None:
        """Read no further; a server's stream is cancelled at once, without waiting for its next point."""
        self._cancelled = True
        cancel = getattr(self._stream, "cancel", None)
        if cancel is not None:
            cancel()

    def _read(self, stream: PointStream) -> None:
        # `cancel` writes and reads these two in the opposite order: one of the threads sees what the other has written.
        self._stream = stream
        with contextlib.closing(stream):
            while not self._cancelled:
                try:
                    self.events.put(next(stream))
                except StopIteration as stop:
                    self._stream = None
                    self.events.put(stop.value)
                    return


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
                raise RequestCancelled("the request was cancelled") from None
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
            raise RequestCancelled("the request was cancelled")
