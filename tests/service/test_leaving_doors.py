"""A client that leaves, in each stage of a request and at each door: nothing is left running, and the next one is answered."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from molmo_point.service.http.openapi import PIXEL
from molmo_point.service.run import Service

httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")

IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
CHAT = [{"role": "user", "content": [{"type": "text", "text": "mug"}, IMAGE]}]
CONFIG = "<View><Image name='i' value='$i'/><KeyPointLabels name='k' toName='i'><Label value='mug'/></KeyPointLabels></View>"
DOORS = {
    "chat in a dialect": ("/v1/chat/completions", {"model": "nano@xy1000", "messages": CHAT}),
    "chat in a stream": (
        "/v1/chat/completions",
        {"model": "nano@xy1000", "messages": CHAT, "stream": True},
    ),
    "several queries": ("/v1/point", {"image": PIXEL, "queries": ["mug", "cup", "pen"]}),
    "several in a stream": (
        "/v1/point",
        {"image": PIXEL, "queries": ["mug", "cup"], "stream": True},
    ),
    "Moondream": ("/v1/point", {"image_url": PIXEL, "object": "mug"}),
    "Label Studio": (
        "/predict",
        {"label_config": CONFIG, "tasks": [{"data": {"i": f"data:image/png;base64,{PIXEL}"}}] * 2},
    ),
    "EmbodiedAgents": ("/any/inference", {"query": "mug", "images": [PIXEL], "task": "pointing"}),
}


def send(address: tuple[str, int], path: str, body: Any, share: float = 1.0) -> socket.socket:
    """Send a request, or a share of it, and return its connection."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    connection = socket.create_connection(address, 10)
    connection.sendall(head.encode() + data[: int(len(data) * share)])
    return connection


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("door", DOORS)
def test_a_client_that_leaves(start: Callable[..., Service], gate: Any, door: str) -> None:
    service = start(gate, zmq=False, http=True, label_studio="http://127.0.0.1:8080")
    assert service.http is not None
    path, body = DOORS[door]
    host, _, port = service.http.url.removeprefix("http://").partition(":")
    address, unfinished = (host, int(port)), service.dispatcher._cache.unfinished
    # While its body arrives: nothing of it is known yet.
    send(address, path, body, 0.5).close()
    # While the model works on it, and another one while it waits.
    running = send(address, path, body)
    assert gate.entered.acquire(timeout=20)
    waiting = send(address, path, body)
    wait_for(lambda: len({job.caller for job in unfinished()}) == 2)
    waiting.close()
    wait_for(lambda: len({job.caller for job in unfinished()}) == 1)
    running.close()
    wait_for(lambda: unfinished() == [])
    asked = len(gate.calls)
    gate.open_.set()
    with httpx.Client(base_url=service.http.url, timeout=20) as client:
        assert client.post(path, json=body).status_code == 200
    # What the clients that left would have asked next was never asked: only the one that stayed was answered.
    expected = len(body.get("queries", body.get("tasks", [0])))
    assert len(gate.calls) == asked + expected
    assert len(service.dispatcher._queue) == 0
