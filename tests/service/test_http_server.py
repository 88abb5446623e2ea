"""The HTTP side: shapes, streams, refusals, tokens, limits; always over a real socket."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from PIL import Image

from molmo_point.client.http_messages import body_of
from molmo_point.errors import ImageError, Refused
from molmo_point.images import Array
from molmo_point.points import Point, Pointing, Status
from molmo_point.service.http import openapi
from molmo_point.service.http.bodies import QuestionBody
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.openapi import PIXEL
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer
from molmo_point.wire import ENVELOPE, Op, Request

httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")

Start = Callable[..., Service]
DATA_URL = f"data:image/png;base64,{PIXEL}"
TEXTS = {"What is this?": "a small image", "Describe this image.": "It is green."}


def png(image: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def http(start: Start) -> Iterator[Callable[..., Any]]:
    """Start a server and return an HTTP client for it."""
    clients: list[Any] = []

    def begin(pointer: Any = None, headers: dict[str, str] | None = None, **options: Any) -> Any:
        fake = pointer or FakePointer({"mug": [(0.25, 0.5), (0.75, 0.5)]}, texts=TEXTS)
        service = start(fake, zmq=False, http=True, **options)
        assert service.http is not None
        client = httpx.Client(base_url=service.http.url, timeout=20, headers=headers)
        client.service = service
        clients.append(client)
        return client

    yield begin
    for client in clients:
        client.close()


def events(response: Any) -> list[tuple[str, dict[str, Any]]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in response.text.strip().split("\n\n"):
        kind, data = block.split("\n")
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def refused(response: Any, status: int, kind: str) -> str:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["kind"] == error["code"] == kind
    assert error["message"]
    assert error["advice"]
    assert "Traceback" not in response.text
    message: str = error["message"]
    return message


def test_json_with_base64_and_data_urls_and_multipart_are_the_same_question(http: Any) -> None:
    client = http()
    answers = [
        client.post("/v1/point", json={"image": PIXEL, "query": "mug", "stamp_ns": 5}),
        client.post("/v1/point", json={"image": DATA_URL, "query": "mug", "stamp_ns": 5}),
        client.post(
            "/v1/point",
            data={"query": "mug", "stamp_ns": "5"},
            files={"image": ("a.png", base64.b64decode(PIXEL))},
        ),
    ]
    for response in answers:
        assert response.status_code == 200, response.text
        value = response.json()
        assert value.pop("count") == 2
        pointing = Pointing.model_validate(value)
        assert [(p.x, p.y) for p in pointing.points] == [(0.25, 0.5), (0.75, 0.5)]
        assert (pointing.status, pointing.stamp_ns) == (Status.FOUND, 5)
        assert pointing.image_size == (8, 6)


def test_count_and_ask(http: Any) -> None:
    client = http()
    counted = client.post("/v1/count", json={"image": PIXEL, "query": "mug"}).json()
    assert (counted["count"], counted["stated_count"]) == (2, 2)
    asked = client.post("/v1/ask", json={"image": PIXEL, "query": "What is this?"}).json()
    assert asked == {"text": "a small image", "model": "fake"}


def test_streams_are_server_sent_events(http: Any) -> None:
    client = http()
    body = {"image": PIXEL, "query": "mug", "stream": True}
    points = events(client.post("/v1/point", json=body))
    assert [kind for kind, _ in points] == ["point", "point", "pointing"]
    assert [data.get("seq", 0) for _, data in points] == [0, 1, 2]
    assert points[1][1]["point"]["x"] == 0.75
    assert len(points[2][1]["pointing"]["points"]) == 2
    text = events(client.post("/v1/ask", json={**body, "query": "What is this?"}))
    pieces = [data["text"] for kind, data in text if kind == "piece"]
    assert "".join(pieces) == text[-1][1]["text"] == "a small image"
    assert len(pieces) == 3
    assert text[-1][0] == "text"
    assert [kind for kind, _ in events(client.post("/v1/count", json=body))] == ["pointing"]


def test_a_stream_that_is_refused_has_a_status_code(http: Any) -> None:
    response = http().post("/v1/point", json={"image": PIXEL, "query": " ", "stream": True})
    refused(response, 400, "query")


def test_a_stream_that_breaks_says_so_in_an_event(http: Any) -> None:
    class Broken(FakePointer):
        def stream(self, image: Any, query: str, **options: Any) -> Any:
            yield Point(x=0.5, y=0.5)
            raise RuntimeError("boom")

    client = http(Broken())
    got = events(client.post("/v1/point", json={"image": PIXEL, "query": "mug", "stream": True}))
    assert [kind for kind, _ in got] == ["point", "error"]
    assert got[1][1]["error"]["kind"] == "service"
    assert "boom" not in json.dumps(got)


def test_an_opened_image(http: Any) -> None:
    client = http()
    for answer in (
        client.post("/v1/views", json={"image": PIXEL}),
        client.post("/v1/views", files={"image": base64.b64decode(PIXEL)}),
    ):
        view = answer.json()
        assert view["image_size"] == [8, 6]
        asked = {"query": "mug", "view": view["handle"]}
        assert client.post("/v1/point", json=asked).json()["count"] == 2
        assert client.delete(f"/v1/views/{view['handle']}").json() == {"done": True}
        refused(client.post("/v1/point", json=asked), 404, "view_gone")


def test_a_repeated_request_id_is_answered_from_memory(http: Any) -> None:
    pointer = FakePointer({"mug": [(0.25, 0.5)]})
    client = http(pointer, headers={"X-Client-Id": "robot"})
    headers = {"X-Request-Id": "r1"}
    body = {"image": PIXEL, "query": "mug"}
    first = client.post("/v1/point", json=body, headers=headers)
    second = client.post("/v1/point", json=body, headers=headers)
    assert first.json() == second.json()
    assert len(pointer.calls) == 1
    other = client.post("/v1/point", json={**body, "query": "cup"}, headers=headers)
    assert "used before" in refused(other, 400, "protocol")
    refused(client.post("/v1/point", json=body, headers={"X-Request-Id": "a b"}), 400, "protocol")


def test_health_models_server_and_metrics(http: Any) -> None:
    client = http()
    client.post("/v1/point", json={"image": PIXEL, "query": "mug"})
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"ready": True, "state": "ready"}
    assert client.get("/v1/models").json()["data"][0]["id"] == "fake"
    assert client.get("/v1/server").json()["model"] == "fake"
    metrics = client.get("/metrics").text
    assert 'molmo_point_requests_total{op="point",outcome="found",transport="http"} 1.0' in metrics
    assert "molmo_point_seconds_bucket" in metrics
    assert "molmo_point_waiting 0.0" in metrics


def test_health_answers_while_the_model_works_and_while_it_loads(http: Any, gate: Any) -> None:
    client = http(gate)
    thread = threading.Thread(
        target=lambda: client.post("/v1/point", json={"image": PIXEL, "query": "mug"})
    )
    thread.start()
    assert gate.entered.acquire(timeout=10)
    for path in ("/healthz", "/readyz", "/metrics", "/v1/server", "/v1/models", "/"):
        assert client.get(path, timeout=3.0).status_code == 200
    gate.open_.set()
    thread.join(10)
    loading = threading.Event()

    def load() -> FakePointer:
        loading.wait(20)
        return FakePointer()

    slow = http(load)
    response = slow.get("/readyz")
    assert (response.status_code, response.json()["state"]) == (503, "loading")
    chat = {"model": "fake", "messages": [{"role": "user", "content": "x"}]}
    refused(slow.post("/v1/chat/completions", json=chat), 503, "busy")
    loading.set()


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"image": PIXEL}, "usage", "query: Field required"),
        ({"query": "mug"}, "protocol", "needs an image or an opened view"),
        ({"query": "mug", "image": PIXEL, "view": "x"}, "protocol", "one of them"),
        ({"query": "", "image": PIXEL}, "query", "the query is empty"),
        ({"query": "x" * 4001, "image": PIXEL}, "query", "4,001 characters"),
        ({"query": "mug", "image": "###"}, "image", "base64 is damaged"),
        ({"query": "mug", "image": ""}, "image", "empty"),
        ({"query": "mug", "image": "data:text/plain,hello"}, "image", "expected data:image"),
        ({"query": "mug", "image": "aGVsbG8h"}, "image", "begins b'hello!'"),
        ({"query": "mug", "image": PIXEL, "colour": "red"}, "usage", "colour: Extra inputs"),
        ({"query": "mug", "image": PIXEL, "timeout_s": 0}, "usage", "timeout_s"),
        ({"query": "mug", "image": PIXEL, "timeout_s": "soon"}, "usage", "timeout_s"),
        ({"query": "mug", "image": PIXEL, "camera": "a/b"}, "usage", "camera"),
        ({"query": 5, "image": PIXEL}, "usage", "query"),
        ([], "usage", "expected a JSON object"),
        ({"object": "mug"}, "usage", "image_url"),
        (
            {"object": "mug", "image_url": DATA_URL, "spatial_refs": [[0.5, 0.5]]},
            "usage",
            "spatial_refs",
        ),
    ],
)
def test_a_wrong_question_is_refused_by_name(http: Any, body: Any, kind: str, words: str) -> None:
    assert words in refused(http().post("/v1/point", json=body), 400, kind)


def test_wrong_bodies_are_refused(http: Any) -> None:
    client = http()
    json_type = {"Content-Type": "application/json"}
    for content in (b"", b"{", b"\xff", b'{"query":NaN}', b'{"a":' + b"[" * 50_000):
        message = refused(
            client.post("/v1/point", content=content, headers=json_type), 400, "usage"
        )
        assert "not JSON" in message
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = client.post("/v1/point", content=b"x", headers={"Content-Type": kind})
        assert "expected Content-Type" in refused(response, 400, "usage")
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    refused(client.post("/v1/point", content=b"rubbish", headers=multipart), 400, "usage")
    files = {"picture": base64.b64decode(PIXEL)}
    response = client.post("/v1/point", data={"query": "mug"}, files=files)
    assert 'must be called "image"' in refused(response, 400, "usage")
    assert "GET /nowhere" in refused(client.get("/nowhere"), 404, "usage")
    refused(client.get("/v1/point"), 405, "usage")


def test_a_bomb_is_refused_before_it_is_decoded(http: Any) -> None:
    size = struct.pack(">II", 30_000, 30_000)
    bomb = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + size + b"\x08\x02\x00\x00\x00" + bytes(10**6)
    pointer = FakePointer()
    response = http(pointer).post("/v1/point", data={"query": "mug"}, files={"image": bomb})
    assert "30000x30000 = 900,000,000 pixels" in refused(response, 400, "image")
    assert pointer.calls == []


def test_a_body_over_the_limit_is_refused(http: Any) -> None:
    client = http(limits={"max_message_bytes": 10_000})
    body = {"query": "mug", "image": "A" * 20_000}
    refused(client.post("/v1/point", json=body), 413, "usage")

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"A" * 1000

    headers = {"Content-Type": "application/json"}
    refused(client.post("/v1/point", content=endless(), headers=headers), 413, "usage")
    assert client.post("/v1/point", json={"query": "mug", "image": PIXEL}).status_code == 200


def test_tokens(http: Any) -> None:
    client = http(tokens=["s3cret", "other"])
    body = {"query": "mug", "image": PIXEL}
    refused(client.post("/v1/point", json=body), 401, "refused")
    for header in (
        "Bearer wrong",
        "s3cret",
        "Basic s3cret",
        "Bearer s3cre",
        "Bearer ä",
    ):
        response = client.post("/v1/point", json=body, headers={"Authorization": header.encode()})
        refused(response, 401, "refused")
    for headers in ({"Authorization": "Bearer s3cret"}, {"X-Moondream-Auth": "other"}):
        assert client.post("/v1/point", json=body, headers=headers).status_code == 200
    for path in ("/metrics", "/v1/models", "/v1/server", "/openapi.json"):
        refused(client.get(path), 401, "refused")
    for path in ("/", "/healthz", "/readyz", "/page/page.css"):
        assert client.get(path).status_code == 200


def test_a_page_elsewhere_cannot_reach_a_server_of_this_machine(http: Any) -> None:
    client = http()
    response = client.get("/healthz", headers={"Host": "evil.example:8000"})
    assert "evil.example" in refused(response, 403, "refused")
    for host in ("localhost", "localhost:1234", "127.0.0.1", "[::1]:80"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_silent_and_slow_connections_harm_nobody(http: Any) -> None:
    client = http()
    place = ("127.0.0.1", client.base_url.port)
    peers = []
    for opening in [b"", b"POST /v1/point HTTP/1.1\r\n", b"GET", bytes(100)] * 10:
        peer = socket.create_connection(place, timeout=5)
        peer.sendall(opening)
        peers.append(peer)
    half = b"POST /v1/point HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    peers[0].sendall(half)
    for _ in range(10):
        body = {"query": "mug", "image": PIXEL}
        assert client.post("/v1/point", json=body, timeout=5.0).status_code == 200
    for peer in peers:
        peer.close()


def test_a_caller_who_leaves_takes_his_question_with_him(http: Any, gate: Any) -> None:
    client = http(gate)
    body = {"query": "first", "image": PIXEL}
    thread = threading.Thread(target=lambda: client.post("/v1/point", json=body))
    thread.start()
    assert gate.entered.acquire(timeout=10)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{client.service.http.url}/v1/point", json={**body, "query": "second"}, timeout=0.3
        )
    metrics = client.service.dispatcher.metrics
    until = time.monotonic() + 10
    labels = {"op": "point", "transport": "http", "outcome": "cancelled"}
    while not metrics.value("molmo_point_requests_total", **labels):
        assert time.monotonic() < until, "the question was never cancelled"
        time.sleep(0.05)
    gate.open_.set()
    thread.join(10)
    assert [query for _, query in gate.calls] == ["first"]


@pytest.fixture
def image_host() -> Iterator[str]:
    """A web server of this machine with an image, a redirect to it, and something too large."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/a.png")
                self.end_headers()
                return
            body = bytes(10**6) if self.path == "/large" else base64.b64decode(PIXEL)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_urls_are_not_fetched_unless_allowed(http: Any, image_host: str) -> None:
    body = {"query": "mug", "image": f"{image_host}/a.png"}
    assert "fetches no images from localhost" in refused(
        http().post("/v1/point", json=body), 403, "refused"
    )
    listed = http(image_hosts=["localhost"])
    assert "inside this network" in refused(listed.post("/v1/point", json=body), 403, "refused")
    inner = http(image_hosts=["localhost"], inner_hosts=True)
    assert inner.post("/v1/point", json=body).json()["count"] == 2
    moved = {**body, "image": f"{image_host}/moved"}
    assert "redirects are not followed" in refused(
        inner.post("/v1/point", json=moved), 400, "image"
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
    ],
)
def test_inner_addresses_are_refused_even_when_listed(url: str) -> None:
    host = url.split("/")[2].strip("[]")
    with pytest.raises((Refused, ImageError)) as caught:
        Fetcher([host], max_bytes=1000).fetch(url)
    assert "inside this network" in str(caught.value) or "could not be fetched" in str(
        caught.value
    )


def test_odd_urls_are_refused(image_host: str) -> None:
    fetcher = Fetcher(["localhost", "*.example.com"], max_bytes=1000, inner=True)
    for url in (
        "http://",
        "http://a:b@localhost/",
        "http://localhost:99999/",
        "http://example.com/",
    ):
        with pytest.raises((Refused, ImageError)):
            fetcher.fetch(url)
    with pytest.raises(ImageError, match="more than 1,000 bytes"):
        fetcher.fetch(f"{image_host}/large")
    assert fetcher.fetch(f"{image_host}/a.png") == base64.b64decode(PIXEL)


def test_the_fields_of_a_question_are_those_of_the_wire() -> None:
    """One owner: the body over HTTP has the wire's fields, the description is made of the body, the client sends all of them."""
    fields = set(Request.model_fields) - ENVELOPE
    assert set(QuestionBody.model_fields) - {"image", "images", "times_s", "stream"} == fields
    described = openapi.POINT["openapi_extra"]["requestBody"]["content"]["multipart/form-data"]
    assert set(described["schema"]["properties"]) == fields | {"image", "stream"}
    assert described["schema"]["properties"]["stamp_ns"]["minimum"] == -(2**63)
    whole = Request(
        id="1", op=Op.STREAM, query="mug", view="v", timeout_s=1.5, camera="front", stamp_ns=7, frame_id="cam",
        max_tokens=9, detail="low",
    )  # fmt: skip
    assert set(body_of(whole, None)["json"]) == fields | {"stream"}


def test_every_endpoint_has_a_summary_of_its_own(http: Any) -> None:
    paths = http(FakePointer()).get("/openapi.json").json()["paths"]
    summaries = [route["summary"] for item in paths.values() for route in item.values()]
    assert len(set(summaries)) == len(summaries)


def test_the_openapi_description_has_both_bodies_and_examples_that_work(http: Any) -> None:
    client = http(FakePointer(texts={}))
    description = client.get("/openapi.json").json()
    posts = {path: item["post"] for path, item in description["paths"].items() if "post" in item}
    assert set(posts) == {
        "/v1/point", "/v1/count", "/v1/ask", "/v1/views", "/v1/query", "/v1/caption",
        "/v1/chat/completions",
    }  # fmt: skip
    for path, post in posts.items():
        example = post["requestBody"]["content"]["application/json"]["example"]
        if path == "/v1/chat/completions":
            example = {**example, "model": "fake"}
        assert client.post(path, json=example).status_code == 200, path
    for path in ("/v1/point", "/v1/count", "/v1/ask", "/v1/views"):
        assert "multipart/form-data" in posts[path]["requestBody"]["content"]


def test_the_logging_of_the_process_stays_as_its_owner_set_it(http: Any) -> None:
    log = logging.getLogger("uvicorn")
    own = logging.NullHandler()
    log.addHandler(own)
    try:
        assert http().get("/healthz").status_code == 200
        assert log.handlers == [own]
        assert log.propagate
    finally:
        log.removeHandler(own)
