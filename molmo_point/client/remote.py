"""`RemotePointer`: the `Pointer` interface over any `Link`. What it does not know: sockets."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from molmo_point.client.link import Link, Replies
from molmo_point.errors import Busy, ImageError, ServiceError, UsageError
from molmo_point.pointer import ImageLike, PointStream, TextStream
from molmo_point.points import Pointing
from molmo_point.wire import (
    Op,
    Picture,
    Reply,
    Request,
    ServerInfo,
    ViewGone,
    ViewInfo,
    error_from,
    picture_from,
)
from molmo_point.wire.pictures import ArrayEncoding

AT_ONCE = 8
"""Questions of `point_many` on their way together: as many as a server answers in one batch by default."""


class RemotePointer:
    """A server as a `Pointer`. Safe to use from several threads.

    Args:
        link: The connection.
        timeout_s: Budget of each call that brings none of its own, seconds.
        connect_timeout_s: How long the constructor waits for the server to say hello.
        arrays: How pictures that are not JPEG, PNG or WebP files are sent.
        camera: Name of this client's camera: of its waiting frames the newest wins (the others raise `Superseded`), and answers
            are published under `points/<camera>`.

    Raises:
        ServiceError: As `Link.exchange`.
    """

    def __init__(
        self,
        link: Link,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        arrays: ArrayEncoding = "raw",
        camera: str | None = None,
    ) -> None:
        if timeout_s <= 0 or connect_timeout_s <= 0:
            raise UsageError(
                f"expected timeouts above 0 s, got {timeout_s} and {connect_timeout_s}"
            )
        self._link = link
        self._timeout_s = timeout_s
        self._arrays: ArrayEncoding = arrays
        self._camera = camera
        self._client = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        try:
            self._info = link.hello(connect_timeout_s)
        except BaseException:
            link.close()
            raise

    @property
    def model(self) -> str:
        """Name of the server's model; "" while it loads."""
        if not self._info.model:
            self._info = self._link.hello(self._timeout_s)
        return self._info.model

    def info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """Ask the server what it is and how it is, now; it answers without asking the model."""
        self._info = self._link.hello(timeout_s or self._timeout_s)
        return self._info

    def point(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        """As `Pointer.point`."""
        replies = self._ask(Op.POINT, self.picture(image), query, timeout_s, stamp_ns, frame_id)
        return _pointing(_last(replies))

    def count(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        """As `Pointer.count`."""
        replies = self._ask(Op.COUNT, self.picture(image), query, timeout_s, stamp_ns, frame_id)
        return _pointing(_last(replies))

    def ask(self, image: ImageLike, question: str, *, timeout_s: float | None = None) -> str:
        """As `Pointer.ask`."""
        return _text(_last(self._ask(Op.ASK, self.picture(image), question, timeout_s)))

    def stream(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        """As `Pointer.stream`; closing the generator withdraws the request."""
        replies = self._ask(Op.STREAM, self.picture(image), query, timeout_s, stamp_ns, frame_id)
        return (yield from points_of(replies))

    def stream_text(
        self, image: ImageLike, question: str, *, timeout_s: float | None = None
    ) -> TextStream:
        """As `Pointer.stream_text`; closing the generator withdraws the request."""
        replies = self._ask(Op.STREAM_TEXT, self.picture(image), question, timeout_s)
        return (yield from pieces_of(replies))

    def open(self, image: ImageLike) -> RemoteView:
        """Have the server encode `image` once; the picture is kept here too, in case the server forgets it."""
        return RemoteView(self, self.picture(image))

    def point_many(
        self, requests: Iterable[tuple[ImageLike, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        """As `Pointer.point_many`: the questions travel side by side and the server batches them."""
        until = time.monotonic() + (timeout_s or self._timeout_s)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="molmo-many") as pool:
            futures = [pool.submit(self._patiently, image, q, until) for image, q in requests]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        """Close the connections; calls that are under way in other threads end with `Cancelled`."""
        self._link.close()

    def __enter__(self) -> RemotePointer:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def picture(self, image: ImageLike) -> Picture:
        """Make `image` ready to be sent.

        Raises:
            ImageError: It cannot be read, or the server does not take pictures that large.
        """
        picture = picture_from(image, self._arrays)
        size, limit = len(picture.data), self._info.max_message_bytes
        if size > limit:
            raise ImageError(
                f"the picture has {size:,} bytes, {self._link.url} takes {limit:,}: scale it down, or send it as JPEG"
            )
        return picture

    def request(self, op: Op, picture: Picture | None, **fields: Any) -> Request:
        """Return a request with a new id, in this client's name."""
        header = picture.header if picture is not None else None
        return Request(
            id=str(next(self._numbers)), client=self._client, op=op, image=header, **fields
        )

    def exchange(
        self, request: Request, picture: Picture | None, timeout_s: float | None
    ) -> Replies:
        """Send a request and yield its replies; an error reply is raised."""
        replies = self._link.exchange(request, picture, timeout_s or self._timeout_s)
        try:
            for reply in replies:
                if reply.error is not None:
                    raise error_from(reply.error)
                yield reply
        finally:
            replies.close()

    def _ask(
        self,
        op: Op,
        picture: Picture,
        query: str,
        timeout_s: float | None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Replies:
        request = self.request(
            op,
            picture,
            query=query,
            timeout_s=timeout_s or self._timeout_s,
            camera=self._camera,
            stamp_ns=stamp_ns,
            frame_id=frame_id,
        )
        return self.exchange(request, picture, timeout_s)

    def _patiently(self, image: ImageLike, query: str, until: float) -> Pointing:
        """Ask one of many; a full queue is waited for, since it is partly our own doing."""
        wait_s = 0.05
        while True:
            left_s = max(0.001, until - time.monotonic())
            try:
                return self.point(image, query, timeout_s=left_s)
            except Busy:
                if left_s < 2 * wait_s:
                    raise
                time.sleep(wait_s)
                wait_s = min(1.0, 2 * wait_s)


class RemoteView:
    """An opened picture on a server: a handle there, the picture here for when the handle is gone."""

    def __init__(self, pointer: RemotePointer, picture: Picture) -> None:
        self._pointer = pointer
        self._picture = picture
        self._lock = threading.Lock()
        self._info: ViewInfo | None = self._open(None)
        self._size = self._info.image_size

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels, after EXIF rotation."""
        return self._size

    def point(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        """As `View.point`."""
        return _pointing(_last(self._ask(Op.POINT, query, timeout_s)))

    def count(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        """As `View.count`."""
        return _pointing(_last(self._ask(Op.COUNT, query, timeout_s)))

    def ask(self, question: str, *, timeout_s: float | None = None) -> str:
        """As `View.ask`."""
        return _text(_last(self._ask(Op.ASK, question, timeout_s)))

    def stream(self, query: str, *, timeout_s: float | None = None) -> PointStream:
        """As `View.stream`."""
        return (yield from points_of(self._ask(Op.STREAM, query, timeout_s)))

    def stream_text(self, question: str, *, timeout_s: float | None = None) -> TextStream:
        """As `View.stream_text`."""
        return (yield from pieces_of(self._ask(Op.STREAM_TEXT, question, timeout_s)))

    def close(self) -> None:
        """Tell the server to forget the picture; a server that is gone has forgotten it already."""
        with self._lock:
            info, self._info = self._info, None
        if info is not None:
            try:
                _last(self._pointer.exchange(self._close_request(info), None, 5.0))
            except ServiceError:
                return

    def __enter__(self) -> RemoteView:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _close_request(self, info: ViewInfo) -> Request:
        return self._pointer.request(Op.CLOSE, None, view=info.handle)

    def _open(self, timeout_s: float | None) -> ViewInfo:
        request = self._pointer.request(Op.OPEN, self._picture, timeout_s=timeout_s)
        reply = _last(self._pointer.exchange(request, self._picture, timeout_s))
        if reply.view is None:
            raise ServiceError(f"expected a view, the server answered with {reply.type}")
        return reply.view

    def _handle(self, gone: str | None, timeout_s: float | None) -> str:
        """Return the handle; opened again when it is the one that is `gone`."""
        with self._lock:
            if self._info is None:
                raise UsageError("this view is closed: open the picture again")
            if self._info.handle == gone:
                self._info = self._open(timeout_s)
            return self._info.handle

    def _ask(self, op: Op, query: str, timeout_s: float | None) -> Replies:
        handle = self._handle(None, timeout_s)
        try:
            yield from self._ask_handle(op, query, handle, timeout_s)
        except ViewGone:
            # The server was restarted, or needed the room: nothing of the answer has come yet.
            handle = self._handle(handle, timeout_s)
            yield from self._ask_handle(op, query, handle, timeout_s)

    def _ask_handle(self, op: Op, query: str, handle: str, timeout_s: float | None) -> Replies:
        request = self._pointer.request(op, None, query=query, view=handle, timeout_s=timeout_s)
        return self._pointer.exchange(request, None, timeout_s)


def points_of(replies: Replies) -> PointStream:
    """Yield the points of a stream of replies; return the whole answer."""
    try:
        for reply in replies:
            if reply.last:
                return _pointing(reply)
            if reply.point is not None:
                yield reply.point
    finally:
        replies.close()
    raise ServiceError("the stream ended without its last reply")


def pieces_of(replies: Replies) -> TextStream:
    """Yield the pieces of a stream of replies; return the whole text."""
    try:
        for reply in replies:
            if reply.last:
                return _text(reply)
            yield reply.text or ""
    finally:
        replies.close()
    raise ServiceError("the stream ended without its last reply")


def _last(replies: Replies) -> Reply:
    reply = next(iter(deque(replies, maxlen=1)), None)
    if reply is None:
        raise ServiceError("the server closed the exchange without a reply")
    return reply


def _pointing(reply: Reply) -> Pointing:
    if reply.pointing is None:
        raise ServiceError(f"expected points, the server answered with {reply.type}")
    return reply.pointing


def _text(reply: Reply) -> str:
    # An empty answer is left out of the message like every default.
    if reply.type != "text":
        raise ServiceError(f"expected text, the server answered with {reply.type}")
    return reply.text or ""
