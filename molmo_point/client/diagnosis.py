"""Why nobody answers at an address: looked into once the wait is over, for the message only."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit

LOOK_S = 1.5
"""Longest time that each of the two looks takes, seconds."""

_HTTP_QUESTION = b"GET / HTTP/1.0\r\n\r\n"


def why_silent(url: str) -> str:
    """Return in words what can be found out about a tcp:// address where no ZeroMQ server answers.

    Takes `LOOK_S` for the name and as long for a connection at most.
    """
    parts = urlsplit(url)
    if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
        return "check that the server runs and the address is right"
    if not resolves(parts.hostname):
        return f"the name {parts.hostname!r} is not known here; check its spelling, or use the machine's IP address"
    try:
        heard = _ask(parts.hostname, parts.port)
    except ConnectionRefusedError:
        return f"nothing listens on port {parts.port} there; check that the server runs and the address is right"
    except OSError:
        return "the machine does not take connections on that port; check that the server runs, the address, and firewalls"
    if heard.startswith(b"HTTP/"):
        return f"an HTTP server listens there; use http://{parts.netloc}"
    return "something listens there; check that it is a ZeroMQ server of molmo-point, and that both sides or neither use keys"


def resolves(host: str) -> bool:
    """Whether a host name is known here; also True where the answer does not come in time."""
    known: list[bool] = []

    def look() -> None:
        try:
            socket.getaddrinfo(host, None)
            known.append(True)
        except socket.gaierror:
            known.append(False)
        except (OSError, UnicodeError):
            known.append(False)

    # getaddrinfo has no timeout of its own.
    looking = threading.Thread(target=look, daemon=True, name="molmo-resolve")
    looking.start()
    looking.join(LOOK_S)
    return known[0] if known else True


def _ask(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), LOOK_S) as connection:
        connection.sendall(_HTTP_QUESTION)
        with contextlib.suppress(OSError):
            return connection.recv(64)
    return b""
