"""A server that stops: questions that come too late, and bodies that never come to their end."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from molmo_point.client import connect
from molmo_point.errors import PointError, ServerGone
from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.service.http.openapi import PIXEL
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer
from tests.service.addresses import address

Start = Callable[..., Service]


def stop_in_background(service: Service) -> threading.Thread:
    stopping = threading.Thread(target=service.stop)
    stopping.start()
    while not service.dispatcher.stopping:
        time.sleep(0.005)
    return stopping


@pytest.mark.parametrize("transport", ["zmq", "http"])
def test_a_late_question_is_told_and_nobody_takes_over(
    start: Start, gate: Any, image: Array, transport: str
) -> None:
    service = start(gate, http=True)
    url = address(service, transport)
    with connect(url) as first, connect(url) as late:
        running = threading.Thread(target=lambda: first.point(image, "mug"))
        running.start()
        assert gate.entered.acquire(timeout=10)
        stopping = stop_in_background(service)
        errors: list[PointError] = []

        def ask() -> None:
            try:
                late.point(image, "cup", timeout_s=1.5)
            except PointError as error:
                errors.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.3)
        gate.open_.set()
        running.join(20)
        stopping.join(20)
        asking.join(20)
    words = r"nobody answers at .* any more .* 'the server is stopping: .* and no other server has come up there"
    assert isinstance(errors[0], ServerGone)
    assert re.search(words, str(errors[0]))
    assert [query for _, query in gate.calls] == ["mug"]


def test_a_body_that_never_ends_is_refused_with_advice(start: Start) -> None:
    service = start(http=True)
    assert service.http is not None
    place = urlsplit(service.http.url)
    assert place.hostname is not None
    assert place.port is not None
    with socket.create_connection((place.hostname, place.port), 10) as caller:
        head = f"POST /v1/point HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 5000\r\n\r\n"
        caller.sendall(head.encode() + b'{"image":')
        time.sleep(0.2)
        stopping = threading.Thread(target=service.stop)
        stopping.start()
        heard = b""
        while part := caller.recv(4096):
            heard += part
        stopping.join(20)
    assert heard.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in heard
    assert b"the server is stopping: send the request again" in heard


LOADING = """
import threading, molmo_point.cli.serve as serve
from molmo_point.service.run import ServeOptions, Service
options = ServeOptions(zmq="tcp://127.0.0.1:*", publish=None, http=None)
def load():
    print("loading", flush=True)
    threading.Event().wait(60)
serve.run_service(Service(load, options), options)
print("not reached")
"""


def test_a_server_that_still_loads_its_model_stops_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOADING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "loading\n"
        server.terminate()
        rest, errors = server.communicate(timeout=30)
    assert server.returncode == 0
    assert rest == ""
    assert errors.rstrip().endswith("stopping")  # no error, no traceback


def test_the_end_of_a_command_collects_no_garbage() -> None:
    """Python's last collections would walk all objects of torch, for most of a second."""
    program = (
        "import atexit, gc, molmo_point.cli as cli\n"
        "atexit.register(lambda: print('frozen', gc.get_freeze_count() > 1000))\n"
        "cli.main(['--version'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "frozen True" in run.stdout


LONG = """
import sys, time
import molmo_point as mp

class Own:
    concurrency = int(sys.argv[1])

    def point(self, image, query, **options):
        print("asked", flush=True)
        end = time.monotonic() + 60
        if query == "mug":
            time.sleep(60)
        import torch
        matrix = torch.rand(800, 800) + torch.eye(800)
        while time.monotonic() < end:
            torch.linalg.inv(matrix)

print("starting", flush=True)
mp.serve(Own(), zmq="off", http="127.0.0.1:" + sys.argv[2])
print("the end")
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@pytest.mark.parametrize("query", ["mug", "torch"])
@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_an_answer_that_takes_too_long_is_sent_to_the_next_server(
    concurrency: str, query: str
) -> None:
    """Its caller hears so, and the process ends with 0: no thread is waited for, none is torn out of the middle of torch."""
    httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")
    if query == "torch":
        pytest.importorskip("torch", reason="the extra 'engine' is not installed")
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", LONG, concurrency, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "starting\n"
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(timeout=30, transport=httpx.HTTPTransport(retries=6)) as idle:
            assert idle.get(f"{url}/healthz").status_code == 200
            heard: list[Any] = []

            def ask() -> None:
                body = {"image": PIXEL, "query": query}
                heard.append(httpx.post(f"{url}/v1/point", json=body, timeout=60))

            asking = threading.Thread(target=ask)
            asking.start()
            assert server.stdout.readline() == "asked\n"
            time.sleep(1.0)
            server.terminate()
            rest, errors = server.communicate(timeout=45)
            asking.join(10)
    assert (server.returncode, rest) == (0, "the end\n"), errors
    assert heard[0].status_code == 503
    assert heard[0].json()["error"]["kind"] == "unknown_request"
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("door", "stream"), [("/v1/point", True), ("/v1/point", False), ("/v1/chat/completions", True)]
)
def test_an_answer_that_nobody_reads_is_cut_without_a_traceback(
    start: Start, caplog: pytest.LogCaptureFixture, door: str, stream: bool
) -> None:
    """The operator's log of an ordinary stop holds no exception of the server's own, and the reader's connection is reset."""
    points = [Point(x=0.5, y=0.5, label="x" * 200)] * 20_000
    service = start(FakePointer({"many": points}, texts={"many": "word " * 200_000}), http=True)
    assert service.http is not None
    place = urlsplit(service.http.url)
    assert place.hostname is not None
    assert place.port is not None
    body = json.dumps(_body(door, stream)).encode()
    head = (
        f"POST {door} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(10)
        reader.connect((place.hostname, place.port))
        reader.sendall(head.encode() + body)
        assert reader.recv(12) == b"HTTP/1.1 200"
        time.sleep(1.0)
        service.stop()
        assert not service.http.alive
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert "Cancel" not in caplog.text


def _body(door: str, stream: bool) -> dict[str, Any]:
    if door == "/v1/point":
        return {"image": PIXEL, "query": "many", "stream": stream}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content = [{"type": "text", "text": "many"}, image]
    return {"model": "fake", "stream": stream, "messages": [{"role": "user", "content": content}]}
