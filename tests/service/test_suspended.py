"""A server that is suspended for a while (SIGSTOP, a frozen container, a laptop's lid) serves on when it comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from molmo_point.client import connect

SERVER = """
import sys
import molmo_point as mp
from molmo_point.testing import FakePointer
with mp.serve(FakePointer({"mug": [(0.25, 0.5)]}), zmq="tcp://127.0.0.1:*", publish="off", http=None, block=False) as server:
    print(server.zmq.address, flush=True)
    sys.stdin.read()
"""

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + b"\0" + bytes(31)


def ready(kind: bytes) -> bytes:
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    return b"\x04" + bytes([len(body)]) + body


def ping() -> bytes:
    body = b"\x04PING" + struct.pack(">H", 150)
    return b"\x04" + bytes([len(body)]) + body


def message(**header: object) -> bytes:
    body = json.dumps({"v": 1, **header}).encode()
    return b"\0" + bytes([len(body)]) + body


def read(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        part = connection.recv(size - len(got))
        assert part, "the peer has closed the connection"
        got += part
    return got


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate(timeout=30)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows suspends no process")
def test_a_peer_with_heartbeats_that_gave_up_meanwhile_does_no_harm(
    server: tuple[subprocess.Popen[str], str],
) -> None:
    process, address = server
    port = int(address.rpartition(":")[2])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), 10) as peer:
            peer.sendall(GREETING)
            read(peer, len(GREETING))
            peer.sendall(ready(b"DEALER"))
            assert peer.recv(4096)
            os.kill(process.pid, signal.SIGSTOP)
            # What a client that keeps to docs/wire.md says in ten seconds of silence, and two heartbeats.
            asked = message(id="1", client="c", op="point", query="mug")
            probes = [message(id="1", client="c", op="again") for _ in range(10)]
            given_up = message(id="1", client="c", op="cancel")
            peer.sendall(b"".join([asked, *probes[:5], ping(), *probes[5:], ping(), given_up]))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.2)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGCONT)
        with connect(address, timeout_s=20) as pointer:
            assert len(pointer.point(np.zeros((6, 8, 3), np.uint8), "mug").points) == 1
        assert process.poll() is None


def test_the_client_sends_no_heartbeats() -> None:
    # libzmq aborts a server that reads one at the wrong moment; see `_notice_lost_packets`.
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(GREETING)
                read(connection, len(GREETING))
                connection.sendall(ready(b"ROUTER"))
                while part := connection.recv(4096):
                    heard.extend(part)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        with pytest.raises(Exception, match="nobody answers"):
            connect(f"tcp://127.0.0.1:{listening.getsockname()[1]}", connect_timeout_s=6.5)
        thread.join(10)
    assert b"hello" in heard
    assert b"PING" not in heard
