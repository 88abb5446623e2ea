"""A call whose server stops, or breaks the connection, and the next server: how long it is waited for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from molmo_point.client import connect
from molmo_point.errors import ServerGone
from molmo_point.images import Array
from molmo_point.service.run import ServeOptions, Service
from molmo_point.testing import FakePointer
from tests.service.addresses import address

Start = Callable[..., Service]


@pytest.mark.parametrize("transport", ["zmq", "http"])
def test_a_server_that_said_it_stops_is_waited_for_longer_than_a_silent_one(
    start: Start, transport: str, gate: Any, image: Array
) -> None:
    first = start(gate, http=True)
    with (
        connect(address(first, transport), gone_after_s=0.5, timeout_s=60.0) as pointer,
        ThreadPoolExecutor(2) as pool,
    ):
        begun = pool.submit(pointer.count, image, "begun")
        assert gate.entered.acquire(timeout=10)
        waiting = pool.submit(pointer.count, image, "mug")
        while not len(first.dispatcher._queue):
            time.sleep(0.01)
        threading.Timer(0.2, gate.open_.set).start()
        first.stop()
        assert begun.result(30).points[0].label == "begun"
        time.sleep(1.0)  # twice as long as silence is borne
        assert not waiting.done()
        second = Service(
            lambda: FakePointer({"mug": [(0.25, 0.5)]}),
            ServeOptions(
                zmq=address(first, "zmq"),
                publish=None,
                http=("127.0.0.1", _port(address(first, "http"))),
            ),
        )
        with second:
            assert waiting.result(30).points[0].x == 0.25


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.mark.parametrize("attempts", [1, 2])
def test_silence_is_counted_from_the_failure_and_not_from_the_call(
    image: Array, attempts: int
) -> None:
    """A connection that breaks late in a long answer is tried again for as long as one that breaks early."""
    begun = threading.Semaphore(0)

    class Breaks(BaseHTTPRequestHandler):
        posts = 0

        def do_GET(self) -> None:
            info = json.dumps(
                {
                    "ready": True,
                    "state": "ready",
                    "version": "1",
                    "max_message_bytes": 10**8,
                    "max_pixels": 10**8,
                }
            )
            self._say(info.encode())

        def do_POST(self) -> None:
            Breaks.posts += 1
            self.rfile.read(int(self.headers["Content-Length"]))
            begun.release()
            if Breaks.posts <= attempts:
                time.sleep(0.8)  # the model works for longer than silence is borne
                self.close_connection = True
                return
            self._say(
                FakePointer({"mug": [(0.25, 0.5)]}).point(image, "mug").model_dump_json().encode()
            )

        def _say(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Breaks) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with connect(url, gone_after_s=0.6, timeout_s=20.0) as pointer:
            if attempts == 1:
                assert pointer.point(image, "mug").points[0].x == 0.25
            else:
                # The second one fails 1 s after the first: that is a server which breaks every time.
                with pytest.raises(ServerGone):
                    pointer.point(image, "mug")
        server.shutdown()
