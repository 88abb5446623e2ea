"""The Label Studio backend: its routes as Label Studio calls them, images out of its own storage, the host list."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from molmo_point.convert import from_label_studio
from molmo_point.errors import UsageError
from molmo_point.points import Point, Pointing, Status
from molmo_point.service.http.label_config import LabelConfig
from molmo_point.service.http.openapi import PIXEL
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer

httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")

CONFIG = """<View><!-- mugs and cups -->
  <Image name="img" value="$image"/>
  <KeyPointLabels name="kp" toName="img"><Label value="Mug" predicted_values="red mug"/><Label value="cup"/></KeyPointLabels>
  <KeyPointLabels name="elsewhere" toName="other"><Label value="dog"/></KeyPointLabels>
  <Number name="all" toName="img"/><Number name="pens" toName="img" predicted_values="pen"/>
</View>"""
MUG = Point(x=0.25, y=0.5, score=0.9)
CUPS = [Point(x=0.5, y=0.5, score=0.7), Point(x=0.75, y=0.25, score=0.8)]


class Images(BaseHTTPRequestHandler):
    """Label Studio's storage: a path, and only with the right token."""

    heard: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.heard.append((self.path, self.headers.get("Authorization", "")))
        allowed = self.headers.get("Authorization") == "Token right"
        # As Label Studio: what asks for images only is refused.
        readable = self.headers.get("Accept") == "*/*"
        self.send_response((200 if readable else 406) if allowed else 401)
        self.end_headers()
        if allowed:
            self.wfile.write(base64.b64decode(PIXEL))

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def storage() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Images)
    Images.heard = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def fake() -> FakePointer:
    cut = Pointing(query="cut", status=Status.TRUNCATED, image_size=(8, 6))
    return FakePointer({"red mug": [MUG], "cup": CUPS, "cut": cut})


@pytest.fixture
def client(start: Callable[..., Service], storage: str, fake: FakePointer) -> Iterator[Any]:
    service = start(fake, zmq=False, http=True, tokens=["s3cret"], label_studio=storage)
    assert service.http is not None
    # As Label Studio's connector sends it.
    with httpx.Client(base_url=service.http.url, timeout=20, auth=("any", "s3cret")) as made:
        yield made


def predict(client: Any, *images: str, config: str = CONFIG) -> Any:
    tasks = [{"id": number, "data": {"image": image}} for number, image in enumerate(images)]
    body = {
        "tasks": tasks,
        "model_version": "",
        "project": "1.2",
        "label_config": config,
        "params": {"context": None},
    }
    return client.post("/predict", json=body)


def test_a_task(client: Any, fake: FakePointer) -> None:
    assert client.get("/health").json()["status"] == "UP"
    setup = {
        "project": "1.2",
        "schema": CONFIG,
        "hostname": "http://evil.example",
        "access_token": "right",
    }
    assert client.post("/setup", json=setup).json() == {"model_version": "fake"}
    answer = predict(client, "/data/upload/1/a.png").json()
    assert Images.heard == [("/data/upload/1/a.png", "Token right")]
    assert answer["model_version"] == "fake"
    (task,) = answer["results"]
    assert (task["model_version"], task["score"]) == ("fake", 0.7)
    *points, total, pens = task["result"]
    assert [(r["from_name"], r["to_name"], r["type"]) for r in points] == [
        ("kp", "img", "keypointlabels")
    ] * 3
    assert [(r["value"]["x"], r["value"]["y"], r["value"]["keypointlabels"]) for r in points] == [
        (25.0, 50.0, ["Mug"]), (50.0, 50.0, ["cup"]), (75.0, 25.0, ["cup"]),
    ]  # fmt: skip
    assert [r["score"] for r in points] == [0.9, 0.7, 0.8]
    assert {(r["original_width"], r["original_height"]) for r in points} == {(8, 6)}
    assert (total["value"], pens["value"]) == ({"number": 3}, {"number": 0})
    assert len({r["id"] for r in task["result"]}) == 5
    assert [query for _, query in fake.calls] == ["red mug", "cup", "pen"]


def test_it_is_read_back(client: Any) -> None:
    config = CONFIG.split("<Number")[0] + "</View>"
    (task,) = predict(client, f"data:image/png;base64,{PIXEL}", config=config).json()["results"]
    back = from_label_studio({"data": {"image": "a.png"}, "predictions": [task]})[0]
    assert [(p.x, p.y, p.score, p.label) for p in back.points] == [
        (0.25, 0.5, 0.9, "Mug"), (0.5, 0.5, 0.7, "cup"), (0.75, 0.25, 0.8, "cup"),
    ]  # fmt: skip


def test_what_is_refused(client: Any, storage: str) -> None:
    other = storage.replace(
        "127.0.0.1", "localhost"
    )  # another name, so another host: no token goes there
    for image, kind, words in (
        ("http://example.com/a.png", "refused", "fetches no images from example.com"),
        (other + "/a.png", "refused", "fetches no images from localhost"),
        ("s3://bucket/a.png", "image", ""),
        ("", "usage", "expected the image's address"),
        ("/data/upload/1/a.png", "image", "answered 401"),
    ):
        answer = predict(client, image)
        assert answer.json()["error"]["kind"] == kind, answer.json()
        assert words in answer.json()["error"]["message"]
    assert [token for _, token in Images.heard] == [""]
    cut = CONFIG.replace('value="cup"', 'value="cut"')
    assert predict(client, f"data:image/png;base64,{PIXEL}", config=cut).status_code == 408
    assert client.post("/predict", auth=("any", "wrong"), json={}).status_code == 401


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("<View", "not XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><View/>", "entities are not read"),
        ("<View><Text name='t' value='$t'/></View>", "one <Image> tag, got 0"),
        ("<View><Image name='i' value='$i'/></View>", "expected <KeyPointLabels>"),
        (
            "<View><Image name='i' value='$i'/><Number name='n' toName='i'/></View>",
            "expected <KeyPointLabels>",
        ),
    ],
)
def test_configurations_without_anything_to_point_to(config: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        LabelConfig.of(config)


def test_without_the_option_there_is_no_backend(start: Callable[..., Service]) -> None:
    service = start(FakePointer(), zmq=False, http=True)
    assert service.http is not None
    assert httpx.post(service.http.url + "/predict", json={}).status_code == 404


def test_embodied_agents(start: Callable[..., Service]) -> None:
    """The requests of EmbodiedAgents' RoboML client, in its order."""
    service = start(
        FakePointer({"red mug": [MUG], "cup": CUPS}, texts={"What?": "a mug"}),
        zmq=False,
        http=True,
    )
    assert service.http is not None
    with httpx.Client(base_url=service.http.url, timeout=20) as client:
        client.get("/").raise_for_status()
        client.post(
            "/add_node", params={"node_name": "robobrain", "node_model": "RoboBrain2"}
        ).raise_for_status()
        client.post("/robobrain/initialize", json={"checkpoint": "x"}).raise_for_status()

        def infer(**body: Any) -> Any:
            return client.post("/robobrain/inference", json={"images": [PIXEL], **body})

        messages = [{"role": "user", "content": "cup"}]
        pointing = infer(
            query=messages,
            task="pointing",
            max_new_tokens=768,
            temperature=0.7,
            enable_thinking=True,
        )
        assert pointing.json() == {"output": [[4.0, 3.0], [6.0, 1.5]]}
        assert infer(query="red mug", task="pointing").json() == {"output": [[2.0, 3.0]]}
        assert infer(query="a ghost", task="pointing").json() == {"output": []}
        assert infer(query="What?").json() == {"output": "a mug"}
        for body, words in (
            (
                {"query": "cup", "task": "trajectory"},
                "task: Input should be 'pointing' or 'general'",
            ),
            ({"query": "cup", "task": "pointing", "images": []}, "expected one image, got 0"),
            (
                {"query": "cup", "task": "pointing", "images": [PIXEL] * 2},
                "expected one image, got 2",
            ),
            ({"query": "cup", "stream": True}, "not streamed here"),
            ({"query": " ", "task": "pointing"}, "the query is empty"),
        ):
            answer = infer(**body)
            assert (answer.status_code, words in answer.json()["error"]["message"]) == (
                400,
                True,
            ), answer.text
        client.post("/remove_node", params={"node_name": "robobrain"}).raise_for_status()
