"""Pictures behind http(s) URLs: fetched only from hosts on a list, and never from inner networks.

A server that fetches what strangers name is a tunnel into its own network. So: no list, no fetching; the address that the name
resolves to is checked and is the one connected to (a name cannot change its mind in between); redirects are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from molmo_point.errors import ImageError, Refused

TIMEOUT_S = 10.0


class Fetcher:
    """Fetches pictures from a list of hosts.

    Args:
        hosts: Names that may be fetched from, exactly as in the URL; "*.example.com" allows every name below.
        max_bytes: Largest picture.
        inner: Allow addresses that only this network can reach; for an image server of one's own.
    """

    def __init__(self, hosts: Sequence[str] = (), *, max_bytes: int, inner: bool = False) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._max_bytes = max_bytes
        self._inner = inner

    def fetch(self, url: str) -> bytes:
        """Return the bytes behind `url`; blocks for at most a few times TIMEOUT_S.

        Raises:
            Refused: Its host is not on the list, or its address belongs to an inner network.
            ImageError: It cannot be fetched, or is too large.
        """
        parts = self._allowed(url)
        try:
            address = self._resolve(parts)
            return self._get(parts, address)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ImageError(f"{url[:200]} could not be fetched: {error}") from error

    def _allowed(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower()
            known = parts.scheme in ("http", "https") and (parts.port or 80) > 0
        except ValueError:
            host, known = "", False
        if not known or not host:
            raise ImageError(f"expected an http or https URL, got {url[:80]!r}")
        if parts.username is not None:
            raise Refused("URLs with a user name are not fetched")
        if not any(
            host == h or (h.startswith("*.") and host.endswith(h[1:])) for h in self._hosts
        ):
            raise Refused(
                f"this server fetches no pictures from {host[:80]}: send the picture itself (base64 or multipart)"
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

    def _get(self, parts: SplitResult, address: str) -> bytes:
        connection = _Pinned(parts, address)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"Accept": "image/*"})
            response = connection.getresponse()
            if response.status != 200:
                raise ImageError(
                    f"{parts.hostname} answered {response.status} instead of a picture (redirects are not followed)"
                )
            data = response.read(self._max_bytes + 1)
        finally:
            connection.close()
        if len(data) > self._max_bytes:
            raise ImageError(
                f"the picture at {parts.hostname} has more than {self._max_bytes:,} bytes"
            )
        return data


class _Pinned(http.client.HTTPConnection):
    """Connects to one address, whatever the name resolves to by now; TLS still checks the name."""

    def __init__(self, parts: SplitResult, address: str) -> None:
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        super().__init__(parts.hostname or "", port, timeout=TIMEOUT_S)
        self._address = address
        self._tls = ssl.create_default_context() if secure else None

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
