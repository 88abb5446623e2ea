"""`ZmqPointer`: a server behind tcp://HOST:PORT as a `Pointer`. Needs only the base install."""

from __future__ import annotations

import os
import secrets
import threading
from typing import Any, Union

import zmq

from molmo_point.client.address import zmq_address
from molmo_point.client.cancellation import CancelToken
from molmo_point.client.curve import ClientKey, read_key
from molmo_point.client.diagnosis import why_silent
from molmo_point.client.per_process import PerProcess
from molmo_point.client.remote import RemotePointer
from molmo_point.client.transport import Replies, check_gone_after
from molmo_point.client.zmq_channel import ZmqChannel
from molmo_point.defaults import CALL_TIMEOUT_S, CONNECT_TIMEOUT_S, SILENCE_TIMEOUT_S
from molmo_point.errors import ServerGone, ServiceError, UsageError
from molmo_point.pointer import Detail
from molmo_point.wire import Op, Payload, Request, ServerInfo, error_from
from molmo_point.wire.image_payload import ArrayEncoding


class ZmqPointer(RemotePointer):
    """A server behind ZeroMQ. Safe to use from several threads: each call has a socket of its own, kept for the next one.

    Args:
        url: tcp://HOST:PORT.
        timeout_s: Budget of each call that brings none of its own, seconds.
        connect_timeout_s: How long the constructor waits for the server to say hello.
        key: Key file from `molmo-point keys new`, where the server wants one.
        arrays: How images that are not JPEG, PNG or WebP files are sent: raw and png keep every pixel.
        camera: As in `RemotePointer`.
        gone_after_s: Seconds of silence after which a call raises `ServerGone`; a live server is never silent. More than a
            restart of the server takes.

    Raises:
        UsageError: Not such an address, or not a key file.
        ServerGone: Nobody answers there.
        Refused: The server does not let this client in.
        VersionMismatch: The server speaks another version of the protocol.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        key: Union[str, os.PathLike[str], None] = None,
        arrays: ArrayEncoding = "raw",
        camera: str | None = None,
        detail: Detail | None = None,
        gone_after_s: float = SILENCE_TIMEOUT_S,
    ) -> None:
        transport = ZmqTransport(url, read_key(key) if key is not None else None, gone_after_s)
        super().__init__(
            transport,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            arrays=arrays,
            camera=camera,
            detail=detail,
            again={"key": key, "gone_after_s": gone_after_s},
        )


class _Pool:
    """The idle sockets of one process; sockets do not survive a fork."""

    def __init__(self) -> None:
        # The process-wide context: one ZeroMQ thread, however many servers are talked to.
        self.context: zmq.Context[Any] = zmq.Context.instance()
        self.idle: list[ZmqChannel] = []
        self.lock = threading.Lock()


class ZmqTransport:
    """A pool of sockets to one server; each process has its own."""

    def __init__(
        self, url: str, key: ClientKey | None = None, gone_after_s: float = SILENCE_TIMEOUT_S
    ) -> None:
        self.url = zmq_address(url)
        self._gone_after_s = check_gone_after(gone_after_s)
        self._key = key
        self._pool = PerProcess(_Pool)
        self._closed = False

    def exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancel_token: CancelToken | None = None,
    ) -> Replies:
        """As `Transport.exchange`."""
        channel = self._take()
        try:
            yield from channel.exchange(request, image_payload, timeout_s, cancel_token)
        finally:
            self._give_back(channel)

    def hello(self, timeout_s: float) -> ServerInfo:
        """As `Transport.hello`."""
        request = Request(id=secrets.token_hex(8), op=Op.HELLO)
        try:
            for reply in self.exchange(request, None, timeout_s):
                if reply.error is not None:
                    raise error_from(reply.error)
                if reply.server is not None:
                    return reply.server
        except ServerGone:
            raise ServerGone(
                f"nobody answers at {self.url} within {timeout_s:.1f} s: {why_silent(self.url)}"
            ) from None
        raise ServiceError(f"{self.url} did not say what it is")

    def close(self) -> None:
        """As `Transport.close`."""
        self._closed = True
        pool = self._pool.get()
        with pool.lock:
            idle, pool.idle = pool.idle, []
        for channel in idle:
            channel.close()

    def _take(self) -> ZmqChannel:
        pool = self._pool.get()
        with pool.lock:
            if self._closed:
                raise UsageError("this pointer is closed: connect again")
            if pool.idle:
                return pool.idle.pop()
        try:
            return ZmqChannel(
                pool.context, self.url, self._key, lambda: self._closed, self._gone_after_s
            )
        except zmq.ZMQError as error:
            raise UsageError(
                f"expected an address like tcp://gpu:5555, got {self.url!r}: {error.strerror}"
            ) from error

    def _give_back(self, channel: ZmqChannel) -> None:
        pool = self._pool.get()
        with pool.lock:
            if channel.usable and not self._closed:
                pool.idle.append(channel)
                return
        channel.close()
