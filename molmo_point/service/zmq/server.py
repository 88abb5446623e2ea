"""The ZeroMQ side of the server: its sockets are read while the model works, too, and never wait for it.

ROUTER receives requests and sends replies, PUB sends answers under `points/<camera>`. A peer that is silent, slow, half dead or
sends invalid messages gets a refusal or loses its own connection; answers of other peers are not affected.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from molmo_point.defaults import LINGER_S, ZMQ_ADDRESS
from molmo_point.errors import PointError, UsageError
from molmo_point.service.bind_check import check_bind_address, host_of
from molmo_point.service.camera_watches import CameraWatches
from molmo_point.service.dispatcher import Dispatcher
from molmo_point.service.job import Listener
from molmo_point.service.sequential import internal_error
from molmo_point.service.worker import stopping_error
from molmo_point.service.zmq.caller import Caller
from molmo_point.service.zmq.keys import CurveCredentials, server_key
from molmo_point.service.zmq.reader import LeaderFollowerReader
from molmo_point.service.zmq.shared_socket import Sent, SharedSocket
from molmo_point.wire import (
    Buffer,
    Op,
    Publication,
    Reply,
    Request,
    decode_request,
    encode_publication,
    encode_reply,
    error_body,
    peek_id,
)

log = logging.getLogger(__name__)

PEER_REQUESTS = 16
"""Messages that ZeroMQ itself holds from one peer. The request queue is ours; this is only a buffer, and images are large.

More than a client that keeps to docs/wire.md sends before it gives up: a request, `again` each second for ten seconds, `cancel`.
Beyond this libzmq stops reading, and aborts the process if it finds a heartbeat there once the peer has closed its connection.
"""

PEER_REPLIES = 1000
"""Replies that ZeroMQ holds for a peer that does not read; they are small, and a stream of points is one each."""

HEARTBEAT_MS = 5_000
"""How often a silent peer is asked whether it lives; three times unanswered, and its connection is dropped."""


class ZmqServer:
    """Binds at once, so that an address in use is the caller's exception; `start` begins to serve.

    Args:
        dispatcher: Where the requests go.
        address: tcp://HOST:PORT for questions; port * takes a free one.
        publish: The same for published answers; None for no publishing.
        curve_dir: Folder of keys; without it every client that can connect is served.
        insecure: Serve other machines without keys.

    Attributes:
        address: Where it really is bound.
        publish_address: The same of the PUB socket, or None.

    Raises:
        UsageError: The address is not one, is in use, or is open to others without keys.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        address: str = ZMQ_ADDRESS,
        *,
        publish: str | None = None,
        curve_dir: Path | None = None,
        insecure: bool = False,
    ) -> None:
        for place in filter(None, (address, publish)):
            check_bind_address(
                host_of(place),
                secured=curve_dir is not None,
                insecure=insecure,
                remedy="give --curve-dir (see `molmo-point keys new`)",
            )
        self._dispatcher = dispatcher
        self._curve_dir = curve_dir
        self._key = server_key(curve_dir) if curve_dir is not None else None
        # A context of its own: the authenticator guards every socket of a context.
        self._context: zmq.Context[Any] = zmq.Context()
        self._authenticator: ThreadAuthenticator | None = None
        self._stop = threading.Event()
        self._told: set[tuple[str, str]] = set()
        self._sockets: list[SharedSocket] = []
        try:
            self._guard()
            self._router = self._bind(zmq.ROUTER, address)
            self._pub = self._bind(zmq.PUB, publish) if publish else None
        except BaseException:
            self._close()
            raise
        self.address = self._router.address
        self.publish_address = self._pub.address if self._pub is not None else None
        if self.publish_address is not None:
            dispatcher.publish_port = _port(self.publish_address)
            dispatcher.subscribe(self._publish)
        self._watches = CameraWatches(dispatcher)
        self._reader = LeaderFollowerReader(self._router, self._handle)
        self._thread = threading.Thread(target=self._run, name="molmo-zmq", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._dispatcher.set_idle_task(self._reader)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Send what is ready to be sent and close the sockets; returns after `timeout_s` seconds at the latest."""
        self._watches.stop()
        self._stop.set()
        self._reader.close()
        self._router.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        elif not self._context.closed:
            self._close()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _guard(self) -> None:
        if self._curve_dir is None:
            return
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(
            domain="*", credentials_provider=CurveCredentials(self._curve_dir)
        )

    def _bind(self, kind: int, address: str) -> SharedSocket:
        socket = self._context.socket(kind)
        socket.ipv6 = "[" in address
        socket.rcvhwm, socket.sndhwm = PEER_REQUESTS, PEER_REPLIES
        socket.maxmsgsize = self._dispatcher.settings.max_message_bytes
        socket.heartbeat_ivl = HEARTBEAT_MS
        socket.heartbeat_timeout = 3 * HEARTBEAT_MS
        socket.handshake_ivl = 5_000
        if kind == zmq.ROUTER:
            # A reply to a peer that is gone or does not read is an error we see, not a message that vanishes.
            socket.router_mandatory = True
        if self._key is not None:
            socket.curve_server = True
            socket.curve_publickey = self._key.public.encode()
            socket.curve_secretkey = self._key.secret.encode()
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close(0)
            raise UsageError(
                f"cannot listen at {address}: {error.strerror}; give another address for ZeroMQ (--zmq, --publish)"
            ) from error
        shared = SharedSocket(socket, self._dispatcher.cancel_all)
        self._sockets.append(shared)
        return shared

    def _publish(self, publication: Publication) -> None:
        if self._pub is not None:
            self._pub.send(encode_publication(publication))

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._reader.read(1.0)
        except Exception:
            log.exception("the ZeroMQ thread failed")
        finally:
            self._dispatcher.set_idle_task(None)
            self._reader.close()
            self._watches.stop()
            self._close()

    def _handle(self, message: list[zmq.Frame]) -> None:
        peer, *rest = message
        # A REQ socket puts an empty frame before its message and wants it back.
        enveloped = len(rest) > 1 and len(rest[0]) == 0
        frames: list[Buffer] = [frame.buffer for frame in (rest[1:] if enveloped else rest)]
        address = [peer.bytes, b""] if enveloped else [peer.bytes]

        # Not the address frame: ZeroMQ does not say for each of those who sent it.
        caller = Caller(peer.bytes, message[-1], keyed=self._key is not None)

        def listener(reply: Reply) -> None:
            # One that cannot be delivered stays in the reply cache for when its caller asks again.
            sent = self._router.send([*address, encode_reply(reply)])
            if sent is Sent.YES:
                return
            log.info("a reply to request %s could not be delivered", reply.id)
            if sent is Sent.NOBODY and not caller.returns and not reply.last:
                self._dispatcher.cancel_soon(caller.name, reply.id)

        name = ""
        try:
            request, payload = decode_request(frames)
            name = request.id
            caller.call_itself(request.client)
            self._dispatch(caller, request, payload, listener, message[-1])
        except PointError as error:
            self._dispatcher.metrics.refused("zmq", error)
            name = name or peek_id(frames)
            listener(Reply(id=name, type="error", error=error_body(error)))
        except Exception as error:
            # A fault of ours, found by one message: it must not end the thread for all the others.
            log.exception("a message could not be handled")
            failure = error_body(internal_error(error))
            listener(Reply(id=name or peek_id(frames), type="error", error=failure))

    def _dispatch(
        self,
        caller: Caller,
        request: Request,
        payload: Buffer | None,
        listener: Listener,
        frame: zmq.Frame,
    ) -> None:
        owner = ("zmq", caller.peer)
        if request.op is Op.HELLO:
            listener(Reply(id=request.id, type="hello", server=self._dispatcher.info()))
        elif request.op is Op.RESUME:
            job = self._dispatcher.resume(caller.name, request.id, owner, listener, request.seq)
            if not job.finished:
                listener(Reply(id=request.id, type="pending", last=False))
        elif request.op is Op.CANCEL:
            self._dispatcher.cancel(caller.name, request.id)
        elif self._dispatcher.stopping:
            self._send_to_next_server(caller, request)
        elif request.op in (Op.WATCH, Op.FRAME, Op.UNWATCH):
            self._watches.handle(caller.owner, request, payload)
            if request.op is not Op.FRAME:
                listener(Reply(id=request.id, type="done"))
        else:
            if not caller.returns:
                self._router.watch(caller.name, frame)
            self._dispatcher.submit(
                request,
                payload,
                caller=caller.name,
                transport="zmq",
                owner=owner,
                listener=listener,
                turn=caller.turn,
                camera_owner=caller.owner,
            )

    def _send_to_next_server(self, caller: Caller, request: Request) -> None:
        """Tell the caller of a question once that this server stops; the second time it is meant for the next server.

        Raises:
            UnknownRequest: It was not told yet.
        """
        key = (caller.name, request.id)
        if key in self._told or self._dispatcher.knows(*key) or request.op is Op.FRAME:
            return
        self._told.add(key)
        raise stopping_error()

    def _close(self) -> None:
        if self._authenticator is not None:
            self._authenticator.stop()
        for socket in self._sockets:
            socket.close(int(1000 * LINGER_S))
        self._context.term()


def _port(address: str) -> int | None:
    tail = address.rpartition(":")[2]
    return int(tail) if tail.isdigit() else None
