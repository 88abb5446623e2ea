"""Addresses: what they mean, who can reach them, and what must be in place before others can."""

from __future__ import annotations

import functools
import ipaddress
from urllib.parse import urlsplit

from molmo_point.errors import UsageError

LAST_PORT = 65535


@functools.lru_cache(maxsize=64)  # asked for every HTTP request
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """Return the host of tcp://HOST:PORT; "localhost" for addresses that do not leave the machine.

    Raises:
        UsageError: Not an address that ZeroMQ can bind.
    """
    if not isinstance(address, str):
        raise UsageError(f"expected tcp://HOST:PORT, got {type(address).__name__}")
    scheme, separator, rest = address.partition("://")
    if separator and scheme in ("ipc", "inproc") and rest:
        return "localhost"
    try:
        parts = urlsplit(address)
        usable = (
            parts.scheme == "tcp"
            and parts.hostname
            and (parts.port is not None or address.endswith(":*"))
        )
    except ValueError:
        usable = address.startswith("tcp://") and address.endswith(":*")
        parts = urlsplit(address.removesuffix(":*"))
    if not usable:
        raise UsageError(f"expected tcp://HOST:PORT, got {address!r}")
    return parts.hostname or ""


def check_bind_address(host: str, *, secured: bool, insecure: bool, remedy: str) -> None:
    """Refuse to open an unsecured server to the network.

    Args:
        host: What it binds to.
        secured: Whether it asks for keys or tokens.
        insecure: Whether the user said that it need not.
        remedy: How to secure it, for the message.

    Raises:
        UsageError: Others could reach it and nothing keeps them out.
    """
    if not (secured or insecure or is_loopback(host)):
        raise UsageError(
            f"{host} can be reached by other machines, and nothing would keep anybody out: {remedy}, "
            "or say --insecure if the network is trusted"
        )


def host_port(text: str) -> tuple[str, int]:
    """Read HOST:PORT.

    Raises:
        UsageError: It is none.
    """
    host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    number = _port(port)
    if not colon or not host or "/" in host or number is None:
        raise UsageError(f"expected HOST:PORT for HTTP, such as 127.0.0.1:8000, got {text!r}")
    return host.strip("[]"), number


def next_port(address: str) -> str | None:
    """Return the address one port further: questions and publications are neighbours. None where there is no such address.

    Raises:
        UsageError: There is no further port.
    """
    if not isinstance(address, str) or not address.startswith("tcp://"):
        return None
    place, _, port = address.rpartition(":")
    if port == "*":
        return address
    number = _port(port)
    if number is None:
        return None
    if number == LAST_PORT:
        raise UsageError(
            f"there is no port after that of {address} for published answers: give --publish an address, or off"
        )
    return f"{place}:{number + 1}"


def _port(text: str) -> int | None:
    """Return a port's number, None for anything else; the digits of other scripts are none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if int(text) <= LAST_PORT else None
