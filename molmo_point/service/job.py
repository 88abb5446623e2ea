"""One request on its way through the server, with the replies it has had so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from molmo_point.errors import Cancelled, PointError, TimedOut
from molmo_point.pointer import Detail, Images, PreparedImage, View
from molmo_point.points import Point, Pointing, Text, Timing
from molmo_point.wire import Buffer, Payload, Reply, Request, ViewInfo, error_body

Listener = Callable[[Reply], None]
"""Takes each reply; is called from any thread and must neither block nor raise."""

Transport = Literal["zmq", "http", "watch", "ray"]

Turn = tuple[str, str]
"""Whose turn a request counts for: (where it comes from, its connection). Neither can be chosen by the caller."""

PIECE = 1024 * 1024
"""Bytes of two images that are compared at a time."""

Owner = object
"""The connection that a listener belongs to: a second listener of the same owner replaces the first one."""


class Job:
    """A request, its image, its deadline, and its replies.

    Replies are kept: a caller whose connection broke can resume, and receives them again in order.

    Attributes:
        request: The header.
        image_payload: The image, or several, as they came; None once the job is finished.
        caller: Whose request it is, within its transport: stays the same over reconnections.
        turn: Whose turn it counts for in the request queue.
        camera_owner: Who asks, as far as the ownership of a camera's name goes.
        transport: zmq, http or watch.
        arrived: `time.monotonic()`, seconds.
        deadline: `time.monotonic()` after which the answer is of no use.
        cancelled: Its caller has cancelled it.
        once: Nobody can ask for it again, since its caller has no name: nothing is kept for that.
        decode_pixels: Width x height of an image that has to be decoded, 0 for raw pixels and without one; of several images what
            decoding and cutting them takes, in units of such a pixel.
        quick: Whether decoding takes so little time that a Pointer may do it itself.
        decoded: The image, decoded before the job's turn; else the Pointer gets it as it came.
        opened: The opened image of one query of several; None for a job that brings its own image or names a view.
        prepared: The image, decoded and cut into crops before the job's turn, for a Pointer that schedules.
    """

    def __init__(
        self,
        request: Request,
        image_payload: Payload | None,
        *,
        caller: str,
        transport: Transport,
        default_timeout_s: float,
        turn: Turn | None = None,
        camera_owner: str | None = None,
        once: bool = False,
    ) -> None:
        self.request = request
        self.image_payload = image_payload
        self.caller = caller
        self.turn = turn or (transport, caller)
        self.camera_owner = camera_owner or caller
        self.transport: Transport = transport
        self.arrived = time.monotonic()
        self.deadline = self.arrived + (request.timeout_s or default_timeout_s)
        self.cancelled = False
        self.nbytes = len(image_payload.data) if image_payload is not None else 0
        self.once = once
        self.decode_pixels = 0
        self.quick = True
        self.decoded: Images | None = None
        self.opened: View | None = None
        self.prepared: PreparedImage | None = None
        # Kept past the answer, for as long as the reply cache has room for it.
        self._content: Buffer | None = image_payload.data if image_payload is not None else None
        self._stop: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._replies: list[Reply] = []
        self._listeners: dict[Owner, Listener] = {}
        self._finished_hooks: list[Callable[[Job, Reply], None]] = []

    @property
    def key(self) -> tuple[str, str]:
        """(caller, id): the same key is the same request."""
        return self.caller, self.request.id

    def part(self, query: str, opened: View) -> Job:
        """Return a job for one of several queries about the image that was opened; it has the rest of this job's deadline."""
        request = self.request.model_copy(
            update={"query": query, "queries": (), "image": None, "images": (), "times_s": ()}
        )
        part = Job(
            request,
            None,
            caller=self.caller,
            transport=self.transport,
            default_timeout_s=1.0,
            turn=self.turn,
            camera_owner=self.camera_owner,
            once=True,
        )
        part.arrived, part.deadline, part.opened = self.arrived, self.deadline, opened
        return part

    @property
    def detail(self) -> dict[str, Detail]:
        """The argument `detail` for what looks at the image; nothing where the request leaves it to the Pointer."""
        return {} if self.request.detail is None else {"detail": self.request.detail}

    def image(self) -> Images | None:
        """Return the image or images, decoded or as it came; None for a job that was cancelled just now."""
        decoded, image_payload = self.decoded, self.image_payload
        if decoded is not None:
            return decoded
        return image_payload.image() if image_payload is not None else None

    def repeats(self, earlier: Job) -> bool | None:
        """Whether it asks exactly what `earlier` asked: every field of the header, and the same image byte for byte.

        Returns:
            None where the headers are equal and the image of `earlier` is no longer known.
        """
        if self.request != earlier.request or self.nbytes != earlier.nbytes:
            return False
        mine, other = self._content, earlier._content
        if mine is None or other is None:
            return None if self.nbytes else True
        return _equal(mine, other)

    def forget_image(self) -> None:
        """Free the image of a finished job: whether another request repeats it is unknown from then on."""
        self._content = None

    @property
    def finished(self) -> bool:
        """Whether the last reply has been given."""
        return bool(self._replies) and self._replies[-1].last

    @property
    def reply_bytes(self) -> int:
        """Roughly how much memory its replies hold."""
        size = 512
        for reply in self._replies:
            size += 256 + len(reply.text or "")
            if reply.pointing is not None:
                size += 512 * len(reply.pointing.points) + len(reply.pointing.text)
        return size

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.finished and self._replies[-1].error is not None

    def left_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.deadline - time.monotonic()

    def listen(self, owner: Owner, listener: Listener, seq: int = 0) -> None:
        """Call `listener` with every reply from number `seq` on: those given already at once, the others as they come."""
        with self._lock:
            for reply in self._replies[seq:]:
                listener(reply)
            self._listeners[owner] = listener

    def cancel(self) -> None:
        """Finish because its caller no longer wants it, and stop what works for it."""
        with self._lock:
            self.cancelled = True
            stop, self._stop = self._stop, None
        if stop is not None:
            stop()
        self.fail(Cancelled("the request was cancelled"))

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """Call `stop` on cancellation, now if already cancelled; from any thread. It must neither wait nor raise."""
        with self._lock:
            self._stop = None if self.cancelled else stop
            late = self.cancelled
        if late:
            stop()

    def on_finish(self, hook: Callable[[Job, Reply], None]) -> None:
        """Call `hook(job, last_reply)` once, when it is finished. To be set before the job is handed to anybody else."""
        self._finished_hooks.append(hook)

    def point(self, point: Point) -> None:
        """Reply with one point of a stream."""
        self._reply("point", last=False, point=_sendable_point(point))

    def piece(self, text: str) -> None:
        """Reply with one piece of a text stream."""
        self._reply("piece", last=False, text=_sendable(text))

    def pointing(self, pointing: Pointing) -> None:
        """Finish with an answer in points."""
        self._reply("pointing", pointing=_sendable_pointing(pointing))

    def text(self, text: str) -> None:
        """Finish with an answer in text; a plain `str` counts as whole."""
        whole = Text.of(text)
        timing = whole.timing if whole.timing != Timing() else None
        self._reply(
            "text", text=_sendable(str(text)), finish_reason=whole.finish_reason, timing=timing
        )

    def parts(self, answers: Sequence[Reply], of: int) -> None:
        """Reply with the answers to the first of several queries that have not been given yet; finish after the last of them."""
        for reply in answers[len(self._replies) :]:
            if reply.error is not None:
                self._reply("error", last=False, error=reply.error)
            else:
                self._reply("pointing", last=False, pointing=reply.pointing)
        if len(answers) == of:
            self.done()

    def view(self, view: ViewInfo) -> None:
        """Finish with the handle of an opened image."""
        self._reply("view", view=view)

    def done(self) -> None:
        """Finish with nothing but that it is done."""
        self._reply("done")

    def fail(self, error: PointError) -> None:
        """Finish with an error."""
        body = error_body(error)
        if not body.message.isascii():
            body = body.model_copy(update={"message": _sendable(body.message)})
        self._reply("error", error=body)

    def expire(self) -> None:
        """Finish because its deadline passed before the work began."""
        waited = time.monotonic() - self.arrived
        self.fail(TimedOut(f"the deadline passed while the question waited ({waited:.2f} s)"))

    def _reply(self, kind: Any, *, last: bool = True, **value: Any) -> None:
        with self._lock:
            if self.finished:
                return
            seq = len(self._replies)
            reply = Reply(id=self.request.id, seq=seq, last=last, type=kind, **value)
            self._replies.append(reply)
            if last:
                self.image_payload = self._stop = self.decoded = self.prepared = None
                if self.once:
                    self._content = None
            for listener in self._listeners.values():
                listener(reply)
            if last:
                self._listeners.clear()
        if last:
            for hook in self._finished_hooks:
                hook(self, reply)


def _sendable(text: str) -> str:
    """Return a model's text without halves of surrogate pairs, which no JSON can hold; a whole pair becomes its character.

    Models that spell characters in bytes, and servers that cut their JSON, give out such halves.
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _sendable_point(point: Point) -> Point:
    if point.label.isascii():
        return point
    return point.model_copy(update={"label": _sendable(point.label)})


def _sendable_pointing(pointing: Pointing) -> Pointing:
    if pointing.text.isascii() and all(point.label.isascii() for point in pointing.points):
        return pointing
    points = tuple(_sendable_point(point) for point in pointing.points)
    return pointing.model_copy(update={"points": points, "text": _sendable(pointing.text)})


def _equal(one: Buffer, other: Buffer) -> bool:
    # In pieces: a memoryview compares item by item, and other threads run in between.
    return len(one) == len(other) and all(
        bytes(one[place : place + PIECE]) == bytes(other[place : place + PIECE])
        for place in range(0, len(one), PIECE)
    )
