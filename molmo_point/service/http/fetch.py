"""Images behind http(s) URLs: fetched only from hosts on a list, and never from inner networks.

A server that fetches what strangers name is a tunnel into its own network. So: no list, no fetching; the address that the name
resolves to is checked and is the one connected to (a second look-up could give another one); redirects are not followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import SplitResult, quote, urlsplit

from anyio import CapacityLimiter, to_thread

from molmo_point.errors import ImageError, Refused, TimedOut
from molmo_point.service.http.hosts import checked_host, matches, one_spelling
from molmo_point.version import __version__

TIMEOUT_S = 10.0
"""For one image, from the connection to its last byte; less where the question's own deadline is nearer."""

HEADERS = {
    "Accept": "image/*",
    # Hosts like Wikimedia's answer 403 to programs that do not say who they are.
    "User-Agent": f"molmo-point/{__version__}",
}


class Fetcher:
    """Fetches images from a list of hosts.

    Args:
        hosts: Names that may be fetched from, exactly as in the URL; "*.example.com" allows every name below.
        max_bytes: Largest image.
        inner: Allow addresses that only this network can reach; for an image server of one's own.
        headers: Sent along with every request, such as a token.
    """

    def __init__(
        self,
        hosts: Sequence[str] = (),
        *,
        max_bytes: int,
        inner: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._hosts = [checked_host(host) for host in hosts]
        self._max_bytes = max_bytes
        self._inner = inner
        self._headers = {**HEADERS, **(headers or {})}

    async def fetch_soon(
        self, url: str, limiter: CapacityLimiter, timeout_s: float | None = None
    ) -> bytes:
        """As `fetch`, in a thread. The time limit includes the wait for a thread and the look-up of the name.

        Raises:
            TimedOut: The host took too long.
        """
        limit_s = min(TIMEOUT_S, timeout_s or TIMEOUT_S)
        work = functools.partial(self.fetch, url, limit_s)
        try:
            return await asyncio.wait_for(
                to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True), limit_s
            )
        except asyncio.TimeoutError:
            raise TimedOut(
                f"the image at {url[:200]} did not arrive within {limit_s:.1f} s"
            ) from None

    def fetch(self, url: str, timeout_s: float = TIMEOUT_S) -> bytes:
        """Return the bytes behind `url`; blocks for `timeout_s` seconds at most, and for as long as the name's look-up takes.

        Raises:
            Refused: Its host is not on the list, or its address belongs to an inner network.
            TimedOut: It did not arrive in time.
            ImageError: It cannot be fetched, or is too large.
        """
        parts = self._allowed(url)
        until = time.monotonic() + timeout_s
        try:
            address = self._resolve(parts)
            return self._get(parts, address, until)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= until:
                raise TimedOut(
                    f"the image at {url[:200]} did not arrive within {timeout_s:.1f} s"
                ) from error
            raise ImageError(f"{url[:200]} could not be fetched: {error}") from error

    def _allowed(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            host = one_spelling(parts.hostname or "")
            known = parts.scheme in ("http", "https") and (parts.port or 80) > 0
        except ValueError:
            host, known = "", False
        if not known or not host:
            raise ImageError(f"expected an http or https URL, got {url[:80]!r}")
        if parts.username is not None:
            raise Refused("URLs with a user name are not fetched")
        if not matches(host, self._hosts):
            raise Refused(
                f"this server fetches no images from {host[:80]}: send the image itself (base64 or multipart)"
            )
        return parts

    def _resolve(self, parts: SplitResult) -> str:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        for *_, place in found:
            address = str(place[0])
            if self._inner or ipaddress.ip_address(address.partition("%")[0]).is_global:
                return address
        raise Refused(f"{parts.hostname} is inside this network, from there nothing is fetched")

    def _get(self, parts: SplitResult, address: str, until: float) -> bytes:
        connection = _Pinned(parts, address, until)
        try:
            # What a browser would encode (blanks, letters of other scripts) is encoded here, too.
            path = quote(parts.path or "/", safe=_SAFE)
            query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
            connection.connect()
            with _ended(connection.sock, until):
                connection.request("GET", path + query, headers=self._headers)
                response = connection.getresponse()
                if response.status != 200:
                    raise ImageError(
                        f"{parts.hostname} answered {response.status} instead of an image (redirects are not followed)"
                    )
                data = response.read(self._max_bytes + 1)
                if time.monotonic() >= until:
                    raise TimeoutError("the time is over")
        finally:
            connection.close()
        if len(data) > self._max_bytes:
            raise ImageError(
                f"the image at {parts.hostname} has more than {self._max_bytes:,} bytes"
            )
        return data


_SAFE = "/:@!$&'()*+,;=-._~%?"
"""Characters of a URL that stay as they are."""


@contextlib.contextmanager
def _ended(connected: socket.socket, until: float) -> Iterator[None]:
    """Within the block, end a connection when the time is over: a timeout of a socket begins again with each byte."""

    def end() -> None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, until - time.monotonic()), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Pinned(http.client.HTTPConnection):
    """Connects to one address, whatever the name resolves to by now; TLS still checks the name."""

    def __init__(self, parts: SplitResult, address: str, until: float) -> None:
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        super().__init__(parts.hostname or "", port)
        self._address = address
        self._until = until
        self._tls = ssl.create_default_context() if secure else None

    def connect(self) -> None:
        left_s = max(0.01, self._until - time.monotonic())
        self.sock = socket.create_connection((self._address, self.port), left_s)
        if self._tls is not None:
            with _ended(self.sock, self._until):
                self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
