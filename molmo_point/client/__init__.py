"""Clients: a server somewhere else as a `Pointer`. `connect` chooses by the address.

address      what an address may be
zmq_client, http_client   `ZmqPointer` (over zmq_channel) and `HttpPointer` (over http_session and http_messages)
remote, remote_view       the `Pointer` interface over any transport, and opened images; replies reads what a server sent
cancellation, many        ending a request from any thread; many questions side by side
subscribe    published points
curve, diagnosis          encryption, and why nobody answers
per_process  values that a fork does not share
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from molmo_point.client.address import scheme_of
from molmo_point.client.remote import RemotePointer
from molmo_point.errors import UsageError

__all__ = ["RemotePointer", "connect", "connect_as"]

Connected = TypeVar("Connected")


def connect(url: str, **options: Any) -> RemotePointer:
    """Connect to a pointing server.

    Args:
        url: tcp://HOST:PORT for ZeroMQ, http://HOST:PORT or https://HOST for HTTP (which needs the extra "client").
        options: Of `ZmqPointer` or `HttpPointer`: timeout_s, connect_timeout_s, gone_after_s, arrays, camera; key (ZeroMQ) or
            token (HTTP).

    Raises:
        UsageError: Another kind of address.
        ServerGone, Refused, VersionMismatch: As the two classes.
    """
    scheme = scheme_of(url)
    if scheme in ("tcp", "ipc"):
        from molmo_point.client.zmq_client import ZmqPointer

        return connect_as(ZmqPointer, url, options)
    if scheme in ("http", "https"):
        from molmo_point.client.http_client import HttpPointer

        return connect_as(HttpPointer, url, options)
    raise UsageError(
        "expected tcp://HOST:PORT or http://HOST:PORT (openai+http://HOST:PORT/v1 for the server of another engine), "
        f"got {url!r}"
    )


def connect_as(kind: Callable[..., Connected], url: str, options: dict[str, Any]) -> Connected:
    """Connect; an option that this kind of address does not have is refused by name."""
    known = list(inspect.signature(kind).parameters)[1:]
    unknown = ", ".join(sorted(set(options) - set(known)))
    if unknown:
        raise UsageError(
            f"unknown option {unknown} for {url}: expected {', '.join(known)} "
            "(key is for tcp://, token for http://)"
        )
    return kind(url, **options)
