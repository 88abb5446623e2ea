"""A server on a loopback address of its own that counts whatever reaches it: connections, requests, datagrams."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest


class Canary:
    """Listens for TCP and UDP on one port of `host`. `events` holds "connection", "datagram" and request lines."""

    def __init__(self, host: str) -> None:
        self.events: list[str] = []
        self._tcp = socket.socket()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._tcp.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no loopback address {host}")
        self.port = self._tcp.getsockname()[1]
        self._udp.bind((host, self.port))
        self._tcp.listen(64)
        self.host = f"{host}:{self.port}"
        for work in (self._accept, self._receive):
            threading.Thread(target=work, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def close(self) -> None:
        for end in (self._tcp, self._udp):
            # A blocked accept() wakes up only when the socket is shut down.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while self._udp.recvfrom(4096)[0]:
                self.events.append("datagram")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                self.events.append("connection")
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(20)
            while data := connection.recv(65536):
                self.events.append(data.split(b"\r\n", 1)[0].decode("latin-1"))
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"
                )


@contextlib.contextmanager
def canaries(*hosts: str) -> Iterator[list[Canary]]:
    """Canaries on several addresses."""
    made: list[Canary] = []
    try:
        made.extend(Canary(host) for host in hosts)
        yield made
    finally:
        for canary in made:
            canary.close()
