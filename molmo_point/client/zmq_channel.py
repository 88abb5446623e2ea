"""One DEALER socket with one request at a time: sending, listening, asking again, giving up."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import zmq

from molmo_point.client.cancellation import CancelToken
from molmo_point.client.curve import ClientKey, Handshake
from molmo_point.client.transport import Replies, next_server_missing
from molmo_point.defaults import SILENCE_TIMEOUT_S
from molmo_point.errors import Cancelled, PointError, ServerGone, ServiceError, TimedOut
from molmo_point.wire import (
    Buffer,
    Op,
    Payload,
    Reply,
    Request,
    UnknownRequest,
    WireError,
    decode_reply,
    encode_request,
)

PROBE_S = 1.0
"""After so much silence the server is asked whether it still knows the request: after a restart it does not."""

GRACE_S = 1.0
"""How much longer than the server's deadline its answer "truncated" is waited for."""


LOST_S = 15
"""After so long without an acknowledgement from the server's machine the connection is made anew."""


class ZmqChannel:
    """A socket connected to one server. Belongs to one caller at a time.

    Args:
        context: Of ZeroMQ.
        url: tcp://HOST:PORT.
        key: This client's keys, if the server wants some.
        closed: Says whether the owner was closed meanwhile.
        gone_after_s: Seconds of silence after which the server counts as gone.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        url: str,
        key: ClientKey | None,
        closed: Callable[[], bool],
        gone_after_s: float = SILENCE_TIMEOUT_S,
    ) -> None:
        self._gone_after_s = gone_after_s
        self._url = url
        self._closed = closed
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.ipv6 = "[" in url
        self._socket.reconnect_ivl = 50
        self._socket.reconnect_ivl_max = 1_000
        _notice_lost_packets(self._socket)
        self._handshake = Handshake(self._socket, url, key)
        self._socket.connect(url)
        # Written to by the thread that cancels the request; a pair of sockets, since Windows cannot poll pipes.
        self._wakes, self._waker = socket.socketpair()
        self._wakes.setblocking(False)
        self._waker.setblocking(False)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._wakes.fileno(), zmq.POLLIN)
        self._pid = os.getpid()
        self._spoilt = False

    @property
    def usable(self) -> bool:
        """Whether another request may use it: nothing broke, and this is the process that made it."""
        return not self._spoilt and self._pid == os.getpid()

    def close(self) -> None:
        """Close the socket; what it still holds for the server is dropped. After a fork the child leaves it to its parent."""
        if self._pid != os.getpid():
            return
        self._handshake.close()
        self._socket.close(0)
        self._wakes.close()
        self._waker.close()

    def exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancel_token: CancelToken | None = None,
    ) -> Replies:
        """As `Transport.exchange`."""
        if cancel_token is None:
            return self._exchange(request, image_payload, timeout_s, lambda: False)
        return self._cancellable(request, image_payload, timeout_s, cancel_token)

    def _cancellable(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancel_token: CancelToken,
    ) -> Replies:
        with cancel_token.on_cancel(self._wake):
            yield from self._exchange(
                request, image_payload, timeout_s, lambda: cancel_token.cancelled
            )

    def _exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancelled: Callable[[], bool],
    ) -> Replies:
        frames = encode_request(request, image_payload.data if image_payload is not None else None)
        self._send(frames)
        finished = False
        try:
            for reply in self._listen(request, timeout_s, cancelled):
                if reply.error is not None and reply.error.kind == UnknownRequest.kind:
                    self._send(frames)
                    continue
                finished = reply.last
                yield reply
                if finished:
                    return
        finally:
            if not finished and self.usable and not self._socket.closed:
                self._send_about(request, Op.CANCEL)

    def _listen(
        self, request: Request, timeout_s: float, cancelled: Callable[[], bool]
    ) -> Replies:
        """Yield the replies to one request in order, each once, and "unknown request" as it comes."""
        now = time.monotonic()
        heard, probe_at, expected = now, now + PROBE_S, 0
        ever, last_words = False, ""
        # `hello` is answered at once, so its timeout is also how long a silent server is waited for.
        hello = request.op is Op.HELLO
        until = now + timeout_s + (0.0 if hello else GRACE_S)
        patience = gone_s = timeout_s if hello else self._gone_after_s
        while True:
            if cancelled():
                raise Cancelled("the request was cancelled by its caller")
            now = time.monotonic()
            if now >= until or now - heard >= gone_s:
                raise self._gave_up(
                    ever and now - heard < gone_s, timeout_s, now - heard, last_words
                )
            if now >= probe_at:
                self._check_alive()
                self._send_about(request, Op.RESUME, expected)
                probe_at = now + PROBE_S
            reply = self._receive(min(probe_at, until, heard + gone_s) - now)
            if reply is None or reply.id != request.id:
                continue
            heard, ever = time.monotonic(), True
            probe_at = heard + PROBE_S
            gone_s, last_words = patience, ""
            if reply.error is not None and reply.error.kind == UnknownRequest.kind:
                # The server has been restarted, or says that it stops: the next one is waited for as long as the call has time.
                gone_s, last_words = max(patience, until - heard), reply.error.message
                yield reply
            elif reply.type == "pending" or reply.seq < expected:
                continue
            elif reply.seq > expected:
                # One went missing on the way; the server repeats it and those after it.
                self._send_about(request, Op.RESUME, expected)
            else:
                expected += 1
                yield reply

    def _check_alive(self) -> None:
        if self._closed():
            self._spoilt = True
            raise Cancelled("the pointer was closed while this call was under way")
        problem = self._handshake.problem()
        if problem is not None:
            self._spoilt = True
            raise problem

    def _gave_up(
        self, heard: bool, timeout_s: float, silence_s: float, last_words: str
    ) -> PointError:
        if heard and not last_words:
            return TimedOut(f"{self._url} gave no complete answer within {timeout_s:.1f} s")
        self._spoilt = True
        if last_words:
            return next_server_missing(self._url, silence_s, last_words)
        return self._handshake.problem() or ServerGone(
            f"nobody answers at {self._url} ({silence_s:.1f} s): check that the server runs and the address is right"
        )

    def _receive(self, wait_s: float) -> Reply | None:
        # Rounded up: a wait of 0.4 ms must not become a busy loop.
        ready = dict(self._poller.poll(int(max(0.0, wait_s) * 1000) + 1))
        if self._wakes.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wakes.recv(64)
        if self._socket not in ready:
            return None
        frames = self._socket.recv_multipart(copy=True)
        try:
            return decode_reply(frames)
        except WireError as error:
            raise ServiceError(f"{self._url} answered with something else: {error}") from error

    def _wake(self) -> None:
        # Full means that a wake-up is on its way already; closed, that nobody waits any more.
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _send_about(self, request: Request, op: Op, seq: int = 0) -> None:
        self._send(encode_request(Request(id=request.id, client=request.client, op=op, seq=seq)))

    def _send(self, frames: list[Buffer]) -> None:
        # A full pipe means that nobody reads; the wait for a reply finds that out.
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(frames, zmq.NOBLOCK, copy=False)


def _notice_lost_packets(socket: zmq.Socket[Any]) -> None:
    """Have a network that silently drops packets lead to a reconnection instead of an endless wait.

    By TCP's means, not by ZeroMQ's heartbeats: libzmq (4.3.5 and later) aborts the whole server where it reads a heartbeat behind
    more messages than it holds for one peer, from a peer that has closed its connection. So it went where a server had been
    suspended (SIGSTOP, a frozen container, a laptop's lid) until its clients gave up.
    """
    socket.tcp_keepalive = 1
    socket.tcp_keepalive_idle = socket.tcp_keepalive_intvl = LOST_S // 3
    socket.tcp_keepalive_cnt = 2
    socket.tcp_maxrt = LOST_S * 1000
