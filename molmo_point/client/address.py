"""Addresses of servers: checked before anything is connected, so that a typing mistake is not a server that is silent."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urlsplit

from molmo_point.defaults import ZMQ_PORT
from molmo_point.errors import UsageError


def scheme_of(url: object) -> str:
    """Return the scheme of an address in lower case, "" where it has none.

    Raises:
        UsageError: Not text.
    """
    if not isinstance(url, str):
        raise UsageError(
            f"expected the server's address as text, such as tcp://gpu:5555, got {type(url).__name__}"
        )
    scheme, separator, _ = url.strip().partition("://")
    return scheme.lower() if separator else ""


def zmq_address(url: str) -> str:
    """Return the address of a ZeroMQ server as ZeroMQ takes it.

    Raises:
        UsageError: Not tcp://HOST:PORT or ipc://PATH.
    """
    scheme, url = scheme_of(url), url.strip()
    if scheme == "ipc":
        return "ipc" + url[3:]
    if scheme != "tcp":
        raise UsageError(f"expected an address like tcp://gpu:5555, got {url!r}")
    parts = _split(url, "tcp://gpu:5555")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "expected an address like tcp://gpu:5555 without a name or password in it: give key=..."
        )
    if parts.port is None:
        raise UsageError(
            f"expected an address like tcp://gpu:5555, got {url!r}: the port is missing (servers take {ZMQ_PORT} by default)"
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(
            f"expected an address like tcp://gpu:5555, got {url!r}: nothing comes after the port"
        )
    return f"tcp://{parts.netloc}"


def http_address(url: str) -> str:
    """Return the address of an HTTP server without the "/v1" that its clients add, without a last "/".

    Raises:
        UsageError: Not http(s)://HOST[:PORT][/PATH].
    """
    scheme, url = scheme_of(url), url.strip()
    if scheme not in ("http", "https"):
        raise UsageError(f"expected an address like http://gpu:8000, got {url!r}")
    parts = _split(url, "http://gpu:8000")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"expected an address like http://{parts.hostname}:8000 without a name or password in it: give token=..."
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"expected an address like http://gpu:8000, got {url!r}: leave out what follows ? and #"
        )
    path = re.sub(r"/v1(/.*)?$", "", parts.path.rstrip("/"))
    return f"{scheme}://{parts.netloc}{path}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: localhost, 127.0.0.0/8 (also as 127.1), ::1, and the unspecified addresses."""
    host = host.rstrip(".").partition("%")[0].lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))
        except OSError:
            return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def _split(url: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"expected an address like {example}, got {url!r}: {error}") from None
    if not host or any(c.isspace() or not c.isprintable() for c in url):
        raise UsageError(f"expected an address like {example}, got {url!r}")
    return parts
