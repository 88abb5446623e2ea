"""`RemoteView`: an opened image on a server, opened again when the server has forgotten it."""

from __future__ import annotations

import threading
from typing import Any, NoReturn, Protocol

from molmo_point.arguments import check_query
from molmo_point.client.cancellation import CancellableStream, CancelToken
from molmo_point.client.replies import (
    expect_pointing,
    expect_text,
    iter_points,
    iter_text,
    last_reply,
)
from molmo_point.client.transport import Replies
from molmo_point.closing import Closing
from molmo_point.errors import ServiceError, UsageError
from molmo_point.pointer import Detail
from molmo_point.points import Point, Pointing, Text
from molmo_point.wire import Op, Payload, Request, ViewGone, ViewInfo


class Connection(Protocol):
    """What a view asks its server through."""

    def budget(self, timeout_s: float | None) -> float:
        """Return the time limit of a request in seconds."""

    def request(self, op: Op, image_payload: Payload | None, **fields: Any) -> Request:
        """Build a request with an id of its own."""

    def exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float | None,
        cancel_token: CancelToken | None = None,
    ) -> Replies:
        """Send a request; yield its replies."""


class RemoteView(Closing):
    """An opened image on a server: a handle there, the image here for when the handle is gone."""

    def __init__(
        self, connection: Connection, image_payload: Payload, detail: Detail | None = None
    ) -> None:
        self._connection = connection
        self._image_payload = image_payload
        self._detail = detail
        self._lock = threading.Lock()
        self._info: ViewInfo | None = self._open(None)
        self._size = self._info.image_size

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels, after EXIF rotation."""
        return self._size

    def point(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        """As `View.point`."""
        return expect_pointing(last_reply(self._ask(Op.POINT, query, timeout_s)))

    def count(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        """As `View.count`."""
        return expect_pointing(last_reply(self._ask(Op.COUNT, query, timeout_s)))

    def ask(self, question: str, *, timeout_s: float | None = None) -> Text:
        """As `View.ask`."""
        return expect_text(last_reply(self._ask(Op.ASK, question, timeout_s)))

    def stream(
        self, query: str, *, timeout_s: float | None = None
    ) -> CancellableStream[Point, Pointing]:
        """As `View.stream`; cancelled as `RemotePointer.stream` is."""
        cancel_token = CancelToken()
        replies = self._ask(Op.STREAM, query, timeout_s, cancel_token)
        return CancellableStream(iter_points(replies), cancel_token)

    def stream_text(
        self, question: str, *, timeout_s: float | None = None
    ) -> CancellableStream[str, str]:
        """As `View.stream_text`; cancelled as `RemotePointer.stream` is."""
        cancel_token = CancelToken()
        replies = self._ask(Op.STREAM_TEXT, question, timeout_s, cancel_token)
        return CancellableStream(iter_text(replies), cancel_token)

    def close(self) -> None:
        """Tell the server to forget the image; a server that is gone has forgotten it already."""
        with self._lock:
            info, self._info = self._info, None
        if info is not None:
            try:
                last_reply(self._connection.exchange(self._close_request(info), None, 5.0))
            except ServiceError:
                return

    def __reduce__(self) -> NoReturn:
        raise UsageError("an opened view belongs to its process: open the image in the other one")

    def _close_request(self, info: ViewInfo) -> Request:
        return self._connection.request(Op.CLOSE, None, view=info.handle)

    def _open(self, timeout_s: float | None) -> ViewInfo:
        request = self._connection.request(
            Op.OPEN, self._image_payload, timeout_s=timeout_s, detail=self._detail
        )
        reply = last_reply(self._connection.exchange(request, self._image_payload, timeout_s))
        if reply.view is None:
            raise ServiceError(f"expected a view, the server answered with {reply.type}")
        return reply.view

    def _handle(self, gone: str | None, timeout_s: float | None) -> str:
        """Return the handle; opened again when it is the one that is `gone`."""
        with self._lock:
            if self._info is None:
                raise UsageError("this view is closed: open the image again")
            if self._info.handle == gone:
                self._info = self._open(timeout_s)
            return self._info.handle

    def _ask(
        self, op: Op, query: str, timeout_s: float | None, cancel_token: CancelToken | None = None
    ) -> Replies:
        check_query(query)
        budget_s = self._connection.budget(timeout_s)
        return self._replies(op, query, budget_s, cancel_token)

    def _replies(
        self, op: Op, query: str, timeout_s: float, cancel_token: CancelToken | None
    ) -> Replies:
        def ask(handle: str) -> Replies:
            request = self._connection.request(
                op, None, query=query, view=handle, timeout_s=timeout_s
            )
            return self._connection.exchange(request, None, timeout_s, cancel_token)

        handle = self._handle(None, timeout_s)
        try:
            yield from ask(handle)
        except ViewGone:
            # The server was restarted, or needed the room: nothing of the answer has come yet.
            yield from ask(self._handle(handle, timeout_s))
