"""The doors say what an answer is: cut texts, parts that are not read, hosts that drip, bodies that are bombs."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from molmo_point.errors import ModelFailed
from molmo_point.images import Array
from molmo_point.points import FinishReason, Pointing, Status, Text
from molmo_point.service.http.openai_bodies import ChatBody, check_fields, question_of
from molmo_point.service.http.openapi import PIXEL
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer

httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")

URL = f"data:image/png;base64,{PIXEL}"
IMAGE = {"type": "image_url", "image_url": {"url": URL}}


class Cut(FakePointer):
    """Every text is cut, by what its question names; every point answer is cut by its deadline."""

    def ask(self, image: Any, question: str, **options: Any) -> Text:
        return Text("a red", FinishReason(question))

    def stream_text(self, image: Any, question: str, **options: Any) -> Any:
        yield "a red"
        return Text("a red", FinishReason(question))

    def point(self, image: Any, query: str, **options: Any) -> Pointing:
        return Pointing(query=query, status=Status.TRUNCATED, image_size=(8, 6))


@pytest.fixture
def client(start: Callable[..., Service]) -> Iterator[Callable[..., Any]]:
    opened: list[Any] = []

    def begin(pointer: Any = None, **options: Any) -> Any:
        service = start(
            pointer or FakePointer({"mug": [(0.25, 0.5)]}), zmq=False, http=True, **options
        )
        assert service.http is not None
        opened.append(httpx.Client(base_url=service.http.url, timeout=20))
        opened[-1].service = service
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def chat(text: str, **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": [{"type": "text", "text": text}, IMAGE]}
    return {"model": "fake", "messages": [message], **fields}


def data_lines(response: Any) -> list[dict[str, Any]]:
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("reason", "theirs"), [("length", "length"), ("timeout", "length"), ("stop", "stop")])  # fmt: skip
def test_a_text_that_was_cut_says_so_at_every_door(client: Any, reason: str, theirs: str) -> None:
    asking = client(Cut())
    answer = asking.post("/v1/chat/completions", json=chat(reason)).json()
    assert answer["choices"][0]["finish_reason"] == theirs
    stream = asking.post("/v1/chat/completions", json=chat(reason, stream=True))
    assert data_lines(stream)[-1]["choices"][0]["finish_reason"] == theirs
    assert stream.headers["x-accel-buffering"] == "no"
    asked = asking.post("/v1/ask", json={"image": PIXEL, "query": reason}).json()
    assert asked.get("finish_reason", "stop") == reason
    streamed = asking.post("/v1/ask", json={"image": PIXEL, "query": reason, "stream": True})
    assert data_lines(streamed)[-1]["finish_reason"] == reason
    body = {"image_url": URL, "question": reason}
    assert asking.post("/v1/query", json=body).json()["finish_reason"] == reason
    moondream = asking.post("/v1/query", json={**body, "stream": True})
    assert data_lines(moondream)[-1]["finish_reason"] == reason


def test_moondream_hears_no_half_list_of_points(client: Any) -> None:
    answer = client(Cut()).post("/v1/point", json={"image_url": URL, "object": "mug"})
    assert answer.status_code == 408
    assert "cut short" in answer.json()["error"]["message"]


def test_a_model_that_failed_is_a_reason_to_ask_again(client: Any) -> None:
    answer = client(FakePointer({"mug": ModelFailed("out of memory")})).post(
        "/v1/point", json={"image": PIXEL, "query": "mug"}
    )
    assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "model_failed")
    assert answer.headers["retry-after"]
    # Damaged weights stay damaged, whatever the size of the image.
    assert answer.json()["error"]["advice"].startswith("if memory ran out, ")


def question(*contents: Any) -> tuple[str, str | None]:
    messages = [{"role": "user", "content": content} for content in contents]
    return question_of(ChatBody(model="m", messages=messages))  # type: ignore[arg-type]


def test_images_and_texts_are_found_in_every_shape() -> None:
    for part, url in (
        (IMAGE, URL),
        ({"type": "image_url", "image_url": URL}, URL),
        ({"type": "input_image", "image_url": URL}, URL),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}, PIXEL),
    ):  # fmt: skip
        assert question(["what", {"type": "input_text", "text": "is it"}, part]) == (
            "what\nis it",
            url,
        )
    assert question("hello") == ("hello", None)
    # Where they have no effect, parts of other kinds do no harm.
    assert question([{"type": "file", "file": {}}, IMAGE], "and now?") == ("and now?", URL)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "input_audio", "input_audio": {}}, "messages.0.content.1: .*'input_audio'"),
        ({"type": "refusal", "refusal": "no"}, "'refusal'"),
        ({"type": "image_url"}, "'image_url' without an image"),
        ({"type": "image_url", "image_url": {"url": 5}}, "without an image"),
        ({"text": "x"}, "without a type"),
        (7, "got int"),
    ],
)
def test_other_parts_of_the_question_are_refused_by_place_and_name(part: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        question(["what", part])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("stop", ["."]),
        ("functions", [{}]),
        ("tools", [{}]),
        ("tool_choice", "required"),
        ("n", 2),
    ],
)
def test_what_would_be_ignored_to_the_callers_harm_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is not supported"):
        check_fields(ChatBody.model_validate(chat("x", **{name: value})))
    neutral = {
        "response_format": {"type": "text"},
        "n": 1,
        "tools": [{"type": "function"}],
        "tool_choice": "none",
        "temperature": 0.5,
        "new": {},
    }
    check_fields(ChatBody.model_validate(chat("x", **neutral)))


@pytest.mark.parametrize("suffix", ["GIF", "BMP", "TIFF", "AVIF"])
def test_other_formats_are_taken_as_files_and_in_base64(
    client: Any, image: Array, suffix: str
) -> None:
    buffer = io.BytesIO()
    try:
        Image.fromarray(image).save(buffer, suffix)
    except (OSError, KeyError):
        pytest.skip(f"this Pillow writes no {suffix}")
    data, asking = buffer.getvalue(), client()
    for body in (
        {"data": {"query": "mug"}, "files": {"image": data}},
        {"json": {"query": "mug", "image": base64.encodebytes(data).decode()}},
        {"json": {"query": "mug", "image": base64.urlsafe_b64encode(data).decode().rstrip("=")}},
    ):
        answer = asking.post("/v1/point", **body)
        assert answer.json()["count"] == 1, answer.text


def test_an_upload_needs_no_temporary_folder(client: Any, image: Array, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    buffer = io.BytesIO()
    Image.effect_noise((1200, 1200), 90).convert("RGB").save(buffer, "PNG")
    assert len(buffer.getvalue()) > 2_000_000
    answer = client().post("/v1/point", data={"query": "mug"}, files={"image": buffer.getvalue()})
    assert answer.json()["count"] == 1


def test_bodies_of_many_values_are_refused_before_they_are_read(client: Any) -> None:
    asking = client()
    for body in (
        b"[" + b"{}," * 200_000 + b"{}]",
        b'{"query":"a","x":[' + b"[]," * 200_000 + b"[]]}",
    ):
        answer = asking.post(
            "/v1/query", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400
        assert "values, the limit is 100,000" in answer.json()["error"]["message"]


@pytest.fixture
def drip() -> Iterator[str]:
    """A host that sends a byte now and then, of the head or of the body, and an image to those who say who they are."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/named" and self.headers["User-Agent"].startswith("molmo-point/"):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(base64.b64decode(PIXEL))
                return
            if self.path == "/named":
                self.send_error(403)
                return
            if self.path == "/body":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
            else:
                self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            while not over.wait(0.05):
                try:
                    self.wfile.write(b"x" if self.path == "/body" else b"X: y\r\n")
                    self.wfile.flush()
                except OSError:
                    return

        def log_message(self, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    over.set()
    server.shutdown()
    server.server_close()


def test_a_host_that_drips_is_given_up_and_holds_up_nobody(client: Any, drip: str) -> None:
    asking = client(image_hosts=["localhost"], inner_hosts=True)
    named = asking.post("/v1/point", json={"query": "mug", "image": f"{drip}/named"})
    assert named.json()["count"] == 1
    for path in ("/body", "/head"):
        body = {"query": "mug", "image": drip + path, "timeout_s": 0.3}
        answer = asking.post("/v1/point", json=body)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (408, "timed_out"), path
    waiting = [
        threading.Thread(target=lambda: httpx.post(f"{asking.base_url}/v1/point", json=body, timeout=20))
        for _ in range(60)
    ]  # fmt: skip
    for thread in waiting:
        thread.start()
    assert asking.post("/v1/point", json={"query": "mug", "image": PIXEL}).json()["count"] == 1
    for thread in waiting:
        thread.join(30)


def test_small_things_of_http(client: Any) -> None:
    asking = client()
    assert asking.head("/healthz").status_code == 200
    assert asking.get("/v1/models/fake").json()["id"] == "fake"
    assert asking.get("/v1/models/other").status_code == 404
    stray = {"X-Forwarded-For": "10.0.0.1"}
    assert asking.post("/v1/point", json={"query": "mug", "image": PIXEL}, headers=stray).json()["count"]  # fmt: skip


@pytest.mark.parametrize("name", ["trace-7", "a" * 128])
def test_the_id_of_a_request_comes_back_with_every_kind_of_answer(client: Any, name: str) -> None:
    asking = client()
    headers = {"X-Request-Id": name}
    body = {"query": "mug", "image": PIXEL}
    answers = [
        asking.post("/v1/point", json=body, headers=headers),
        asking.post("/v1/point", json={**body, "stream": True}, headers=headers),
        asking.post("/v1/point", json={"query": ""}, headers=headers),
        asking.get("/healthz", headers=headers),
        asking.get("/nowhere", headers=headers),
        asking.get("/healthz", headers={**headers, "Host": "evil.example"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 200, 404, 403]
    assert {answer.headers["X-Request-Id"] for answer in answers} == {name}
    assert answers[1].headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize("name", ["", "a b", "\u00e9".encode("latin-1"), "a" * 129])
def test_what_is_no_word_does_not_come_back(client: Any, name: Any) -> None:
    answer = client().get("/healthz", headers={"X-Request-Id": name})
    assert answer.status_code == 200
    assert "X-Request-Id" not in answer.headers


def test_unnamed_requests_leave_nothing_behind(client: Any) -> None:
    """Nobody can ask for their answers again, so neither those nor their images are kept."""
    asking = client()
    body = {"query": "mug", "image": PIXEL}
    for headers in ({}, {"X-Request-Id": "7"}, {"X-Client-Id": "robot"}):
        assert asking.post("/v1/point", json=body, headers=headers).status_code == 200
    end = time.monotonic() + 5
    while len(asking.service.dispatcher._cache) and time.monotonic() < end:
        time.sleep(0.001)  # the answer leaves before its request is forgotten
    assert len(asking.service.dispatcher._cache) == 0
    named = {"X-Client-Id": "robot", "X-Request-Id": "7"}
    assert asking.post("/v1/point", json=body, headers=named).status_code == 200
    assert len(asking.service.dispatcher._cache) == 1


@pytest.mark.parametrize("path", ["/v1/point", "/v1/count", "/v1/ask"])
def test_a_long_query_is_refused_before_anything_reads_it(
    client: Any, monkeypatch: Any, path: str
) -> None:
    """Its patterns would take 0.2 s a megabyte of the thread that serves everybody."""
    for name in ("noun_phrase", "check_question"):
        module = "molmo_point.service.http.submit"
        monkeypatch.setattr(f"{module}.{name}", lambda *_, name=name: pytest.fail(name))
    answer = client().post(path, json={"query": "point to " * 100_000, "image": PIXEL})
    assert answer.status_code == 400
    assert "900,000 characters, the limit is" in answer.json()["error"]["message"]


def test_answers_leave_at_once(client: Any) -> None:
    """asyncio turns Nagle's algorithm off only for a listening socket that names its protocol."""
    listening = client().service.http._socket
    assert listening.proto == socket.IPPROTO_TCP


def test_idle_connections_make_room_for_new_ones(client: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("molmo_point.service.http.server.connection_limit", lambda: 10)
    asking = client()
    place = ("127.0.0.1", asking.base_url.port)
    idle = [socket.create_connection(place, timeout=5) for _ in range(40)]
    body = {"query": "mug", "image": PIXEL}
    assert httpx.post(f"{asking.base_url}/v1/point", json=body, timeout=5).json()["count"] == 1
    time.sleep(0.2)
    idle[0].settimeout(5)
    with contextlib.suppress(ConnectionError):
        assert idle[0].recv(1) == b""  # the oldest had to go
    for peer in idle:
        peer.close()
