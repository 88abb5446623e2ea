"""`RemotePointer`: the `Pointer` interface over any `Link`. What it does not know: sockets."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from molmo_point.client.link import Link, Replies
from molmo_point.client.remote_view import RemoteView
from molmo_point.client.replies import last_of, pieces_of, pointing_in, points_of, text_in
from molmo_point.client.withdrawal import WithdrawableStream, Withdrawal
from molmo_point.errors import Busy, Cancelled, ImageError, UsageError
from molmo_point.pointer import ImageLike, PointStream, TextStream
from molmo_point.points import Point, Pointing, Text
from molmo_point.wire import (
    Op,
    Picture,
    Request,
    ServerInfo,
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
        return pointing_in(last_of(replies))

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
        return pointing_in(last_of(replies))

    def ask(self, image: ImageLike, question: str, *, timeout_s: float | None = None) -> Text:
        """As `Pointer.ask`."""
        return text_in(last_of(self._ask(Op.ASK, self.picture(image), question, timeout_s)))

    def stream(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> WithdrawableStream[Point, Pointing]:
        """As `Pointer.stream`; closing the stream withdraws the request, and so does its `cancel`, from any thread."""
        withdrawal = Withdrawal()

        def points() -> PointStream:
            picture = self.picture(image)
            replies = self._ask(
                Op.STREAM, picture, query, timeout_s, stamp_ns, frame_id, withdrawal
            )
            return (yield from points_of(replies))

        return WithdrawableStream(points(), withdrawal)

    def stream_text(
        self, image: ImageLike, question: str, *, timeout_s: float | None = None
    ) -> WithdrawableStream[str, str]:
        """As `Pointer.stream_text`; withdrawn as `stream` is."""
        withdrawal = Withdrawal()

        def pieces() -> TextStream:
            picture = self.picture(image)
            replies = self._ask(
                Op.STREAM_TEXT, picture, question, timeout_s, withdrawal=withdrawal
            )
            return (yield from pieces_of(replies))

        return WithdrawableStream(pieces(), withdrawal)

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
        self,
        request: Request,
        picture: Picture | None,
        timeout_s: float | None,
        withdrawal: Withdrawal | None = None,
    ) -> Replies:
        """Send a request and yield its replies; an error reply is raised."""
        if withdrawal is not None and withdrawal.wished:
            raise Cancelled("the request was withdrawn before it was sent")
        budget_s = timeout_s or self._timeout_s
        replies = self._link.exchange(request, picture, budget_s, withdrawal)
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
        withdrawal: Withdrawal | None = None,
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
        return self.exchange(request, picture, timeout_s, withdrawal)

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
