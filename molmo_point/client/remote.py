"""`RemotePointer`: the `Pointer` interface over any `Transport`. What it does not know: sockets."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, get_args

from pydantic import ValidationError

from molmo_point.arguments import (
    check_detail,
    check_frame_id,
    check_queries,
    check_query,
    check_stamp,
    check_timeout,
    one_image,
)
from molmo_point.client.cancellation import CancellableStream, CancelToken
from molmo_point.client.many import MAX_IN_FLIGHT, ask_many, count_tiles
from molmo_point.client.outgoing import outgoing_payload
from molmo_point.client.per_process import PerProcess
from molmo_point.client.remote_view import RemoteView
from molmo_point.client.replies import (
    expect_pointing,
    expect_text,
    iter_pointings,
    iter_points,
    iter_text,
    last_reply,
)
from molmo_point.client.transport import Replies, Transport, check_wait
from molmo_point.closing import Closing
from molmo_point.counting.tiled import check_tiles
from molmo_point.defaults import (
    CALL_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    MAX_TIMEOUT_S,
    MIN_TIMEOUT_S,
    UNLIMITED_TIMEOUT_S,
)
from molmo_point.errors import Cancelled, UsageError
from molmo_point.pointer import Detail, Images, Tiles
from molmo_point.points import Point, Pointing, Text
from molmo_point.wire import (
    ArrayEncoding,
    Op,
    Payload,
    Request,
    ServerInfo,
    error_from,
    first_problem,
)


class RemotePointer(Closing):
    """A server as a `Pointer`; several images and videos are asked about together. Safe to use from several threads.

    Args:
        transport: The connection.
        timeout_s: Budget of each call that brings none of its own, seconds.
        connect_timeout_s: How long the constructor waits for the server to say hello.
        arrays: How images that are not JPEG, PNG or WebP files are sent.
        camera: Name of this client's camera: of its waiting frames the newest wins (the others raise `Superseded`), and answers
            are published under `points/<camera>`.
        detail: How finely images are looked at where a call does not say; None leaves it to the server.
        again: Further arguments of the constructor of a subclass that takes an address: with them a pickled pointer (for a
            spawned process) connects again where it is unpickled. They may hold a token: such a pickle is a secret.

    After a fork each process has a name, numbers and connections of its own.

    Attributes:
        concurrency: Questions that a server with this Pointer (`molmo_point.serve`) asks it at once.

    Raises:
        UsageError: A timeout, camera or encoding that is none.
        ServiceError: As `Transport.exchange`.
    """

    concurrency = MAX_IN_FLIGHT
    several_images = True
    """Several images and videos are for the server to refuse: what stands behind it may take them."""

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        arrays: ArrayEncoding = "raw",
        camera: str | None = None,
        detail: Detail | None = None,
        again: dict[str, Any] | None = None,
    ) -> None:
        self._transport = transport
        self._timeout_s = check_wait(timeout_s, "timeout_s")
        connect_timeout_s = check_wait(connect_timeout_s, "connect_timeout_s")
        if arrays not in get_args(ArrayEncoding):
            raise UsageError(
                f"expected arrays to be one of {', '.join(get_args(ArrayEncoding))}, got {arrays!r}"
            )
        self._arrays: ArrayEncoding = arrays
        self._camera = camera
        self._detail = None if detail is None else check_detail(detail)
        self._again = again
        self._names = PerProcess(_Names)
        self.request(Op.HELLO, None, camera=camera)  # raises here if the camera's name is none
        try:
            self._info = transport.hello(connect_timeout_s)
        except BaseException:
            transport.close()
            raise

    @property
    def model(self) -> str:
        """Name of the server's model; "" while it loads."""
        if not self._info.model:
            self._info = self._transport.hello(self._timeout_s)
        return self._info.model

    def info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """Ask the server what it is and how it is, now; it answers without asking the model."""
        self._info = self._transport.hello(self.budget(timeout_s))
        return self._info

    def point(
        self,
        image: Images,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
        detail: Detail | None = None,
    ) -> Pointing:
        """As `Pointer.point`."""
        replies = self._ask(Op.POINT, image, query, timeout_s, detail, stamp_ns, frame_id)
        return expect_pointing(last_reply(replies))

    def count(
        self,
        image: Images,
        query: str,
        *,
        tiles: Tiles = None,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
        detail: Detail | None = None,
    ) -> Pointing:
        """As `Pointer.count`; tiles are cut here and travel side by side. Their merged count has no interval."""
        if check_tiles(tiles) is not None:
            image = one_image(image)
            source = {"stamp_ns": check_stamp(stamp_ns), "frame_id": check_frame_id(frame_id)}
            budget_s = self.budget(timeout_s)
            count = partial(self.count, detail=detail)
            return count_tiles(count, image, query, tiles, budget_s).replace(**source)
        replies = self._ask(Op.COUNT, image, query, timeout_s, detail, stamp_ns, frame_id)
        return expect_pointing(last_reply(replies))

    def ask(
        self,
        image: Images,
        question: str,
        *,
        timeout_s: float | None = None,
        detail: Detail | None = None,
    ) -> Text:
        """As `Pointer.ask`."""
        return expect_text(last_reply(self._ask(Op.ASK, image, question, timeout_s, detail)))

    def stream(
        self,
        image: Images,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
        detail: Detail | None = None,
    ) -> CancellableStream[Point, Pointing]:
        """As `Pointer.stream`; closing the stream cancels the request, and so does its `cancel`, from any thread."""
        cancel_token = CancelToken()
        source = stamp_ns, frame_id
        replies = self._ask(Op.STREAM, image, query, timeout_s, detail, *source, cancel_token)
        return CancellableStream(iter_points(replies), cancel_token)

    def stream_text(
        self,
        image: Images,
        question: str,
        *,
        timeout_s: float | None = None,
        detail: Detail | None = None,
    ) -> CancellableStream[str, str]:
        """As `Pointer.stream_text`; cancelled as `stream` is."""
        cancel_token = CancelToken()
        replies = self._ask(
            Op.STREAM_TEXT, image, question, timeout_s, detail, cancel_token=cancel_token
        )
        return CancellableStream(iter_text(replies), cancel_token)

    def open(self, image: Images, *, detail: Detail | None = None) -> RemoteView:
        """Have the server encode `image` once; the image is kept here too, in case the server forgets it."""
        return RemoteView(self, self.image_payload(image), self.detail(detail))

    def point_many(
        self,
        requests: Iterable[tuple[Images, str]],
        *,
        timeout_s: float | None = None,
        detail: Detail | None = None,
    ) -> list[Pointing]:
        """As `Pointer.point_many`: the questions travel side by side and the server batches them."""
        return ask_many(partial(self.point, detail=detail), requests, self.budget(timeout_s))

    def point_each(
        self,
        image: Images,
        queries: Sequence[str],
        *,
        timeout_s: float | None = None,
        detail: Detail | None = None,
    ) -> CancellableStream[Pointing, list[Pointing]]:
        """As `Pointer.point_each`: one request; cancelled as `stream` is."""
        asked, budget_s = tuple(check_queries(queries)), self.budget(timeout_s)
        payload, cancel_token = self.image_payload(image), CancelToken()
        request = self.request(
            Op.POINT,
            payload,
            queries=asked,
            timeout_s=budget_s,
            camera=self._camera,
            detail=self.detail(detail),
        )
        replies = self.exchange(request, payload, budget_s, cancel_token)
        return CancellableStream(iter_pointings(replies), cancel_token)

    def close(self) -> None:
        """Close the connections; calls that are under way in other threads end with `Cancelled`."""
        self._transport.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.url} {self._info.model or 'loading'}>"

    def image_payload(self, image: Images) -> Payload:
        """Make an image, several or a video ready to be sent. Raises as `outgoing_payload`."""
        return outgoing_payload(image, self._arrays, self._info, self._transport.url)

    def detail(self, detail: Detail | None) -> Detail | None:
        """Return how finely a call has its image looked at: its own word, or this pointer's; None = the server's.

        Raises:
            UsageError: It is none.
        """
        return self._detail if detail is None else check_detail(detail)

    def budget(self, timeout_s: float | None) -> float:
        """Return the seconds that a call may take: its own timeout, or this pointer's; `MAX_TIMEOUT_S` at most."""
        seconds = check_timeout(self._timeout_s if timeout_s is None else timeout_s)
        if seconds is None:
            return UNLIMITED_TIMEOUT_S
        return min(max(seconds, MIN_TIMEOUT_S), MAX_TIMEOUT_S)

    def request(self, op: Op, image_payload: Payload | None, **fields: Any) -> Request:
        """Return a request with a new id, in this client's and this process's name.

        Raises:
            UsageError: A field is out of its range.
        """
        if image_payload is not None:
            fields = {**fields, **image_payload.fields()}
        names = self._names.get()
        try:
            return Request(id=str(next(names.numbers)), client=names.client, op=op, **fields)
        except ValidationError as error:
            raise UsageError(first_problem(error)) from None

    def exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float | None,
        cancel_token: CancelToken | None = None,
    ) -> Replies:
        """Send a request and yield its replies; an error reply is raised."""
        if cancel_token is not None and cancel_token.cancelled:
            raise Cancelled("the request was cancelled before it was sent")
        replies = self._transport.exchange(
            request, image_payload, self.budget(timeout_s), cancel_token
        )
        try:
            for reply in replies:
                if reply.error is not None and reply.last:
                    raise error_from(reply.error)
                yield reply
        finally:
            replies.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._again is None:
            raise UsageError(
                "this pointer stands on a connection that cannot be made again elsewhere: connect in the other process"
            )
        options = {
            **self._again,
            "timeout_s": self._timeout_s,
            "arrays": self._arrays,
            "camera": self._camera,
            "detail": self._detail,
        }
        return _connect_again, (type(self), self._transport.url, options)

    def _ask(
        self,
        op: Op,
        image: Images,
        query: str,
        timeout_s: float | None,
        detail: Detail | None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
        cancel_token: CancelToken | None = None,
    ) -> Replies:
        """Check everything that can be checked here, now; the replies come as they are read."""
        check_query(query)
        fields = {
            "stamp_ns": check_stamp(stamp_ns),
            "frame_id": check_frame_id(frame_id),
            "detail": self.detail(detail),
        }
        budget_s = self.budget(timeout_s)
        image_payload = self.image_payload(image)
        request = self.request(
            op, image_payload, query=query, timeout_s=budget_s, camera=self._camera, **fields
        )
        return self.exchange(request, image_payload, budget_s, cancel_token)


class _Names:
    """What a server knows the requests of one process by: (client, id) is never used twice."""

    def __init__(self) -> None:
        self.client = secrets.token_hex(16)
        self.numbers = itertools.count(1)


def _connect_again(
    kind: Callable[..., RemotePointer], url: str, options: dict[str, Any]
) -> RemotePointer:
    return kind(url, **options)
