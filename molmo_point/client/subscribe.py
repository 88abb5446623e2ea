"""Published points: what a server, or `molmo-point watch`, gives out about a camera."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, NoReturn, Union

import zmq

from molmo_point.client.address import zmq_address
from molmo_point.client.curve import Handshake, read_key
from molmo_point.closing import Closing
from molmo_point.errors import Refused, ServiceError, TimedOut, UsageError
from molmo_point.wire import Publication, UnknownValue, WireError, decode_publication, topic

QUEUE = 100
"""Publications kept for a subscriber that is busy; three seconds at 30 Hz. Then new ones are dropped."""


class Subscription(Closing):
    """A subscription to one camera, or to all of them. Belongs to one thread at a time."""

    def __init__(
        self,
        url: str,
        camera: str | None = None,
        *,
        key: Union[str, os.PathLike[str], None] = None,
    ) -> None:
        keys = read_key(key) if key is not None else None
        if camera is not None and not re.fullmatch(r"[A-Za-z0-9_.\-]{1,64}", str(camera)):
            raise UsageError(
                f"expected a camera's name of letters, digits and _ . -, got {camera!r}"
            )
        self._url = url = zmq_address(url)
        self._pid = os.getpid()
        self._camera = camera
        context: zmq.Context[Any] = zmq.Context.instance()
        self._socket = context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = QUEUE
        self._socket.ipv6 = "[" in url
        self._handshake = Handshake(self._socket, url, keys)
        self._refusal: Refused | None = None
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._handshake.monitor, zmq.POLLIN)
        self._socket.subscribe(topic(camera) if camera is not None else b"points/")
        try:
            self._socket.connect(url)
        except zmq.ZMQError as error:
            self.close()
            raise UsageError(f"expected an address like tcp://gpu:5556, got {url!r}") from error

    def receive(self, timeout_s: float = 5.0) -> Publication | None:
        """Return the next publication, or None when none came in time.

        Raises:
            Refused: The publisher does not let this client in: told as soon as it is known, and again by each later call, since
                ZeroMQ does not try again. Subscribe again once the keys are right.
            VersionMismatch: It speaks another version of the protocol.
            ServiceError: It publishes something that only a newer version knows (a further status); the next call goes on.
            UsageError: The subscription was made in another process.
        """
        if self._pid != os.getpid():
            raise UsageError("a subscription belongs to its process: subscribe again after a fork")
        ready = dict(self._poller.poll(0 if self._refusal else int(timeout_s * 1000)))
        if self._socket not in ready:
            self._refusal = self._handshake.problem() or self._refusal
            if self._refusal is not None:
                raise self._refusal.with_traceback(None)
            return None
        try:
            publication = decode_publication(self._socket.recv_multipart())
        except UnknownValue as error:
            raise ServiceError(f"{self._url} publishes something else: {error}") from error
        except WireError:
            return None  # noise on the channel; the next message may be a good one
        # Topics match by their beginning: "points/a" also brings "points/ab".
        wanted = self._camera is None or publication.camera == self._camera
        return publication if wanted else None

    def __iter__(self) -> Iterator[Publication]:
        """Yield publications until nothing came for 5 s, which raises `TimedOut`."""
        while True:
            publication = self.receive()
            if publication is None:
                raise TimedOut(f"{self._url} published nothing for 5 s")
            yield publication

    def close(self) -> None:
        """End the subscription. Closing twice is allowed."""
        if self._pid == os.getpid() and not self._socket.closed:
            self._handshake.close()
            self._socket.close(0)

    def __reduce__(self) -> NoReturn:
        raise UsageError("a subscription belongs to its process: subscribe in the other one")


def subscribe(
    url: str, camera: str | None = None, *, key: Union[str, os.PathLike[str], None] = None
) -> Subscription:
    """Subscribe to published points.

    Args:
        url: tcp://HOST:PORT of the PUB socket (`ServerInfo.publishes`, by default the port after the questions').
        camera: Which one; None for all.
        key: Key file, where the server wants one.

    Raises:
        UsageError: Not such an address.
    """
    return Subscription(url, camera, key=key)
