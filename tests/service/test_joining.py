"""A server over a real model: questions join while others are running, and each caller gets what it would hear alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.client import connect
from molmo_point.engine.local import LocalPointer
from molmo_point.engine.prepared_image import prepare_images
from molmo_point.errors import Cancelled, ImageError, PointError
from molmo_point.images import load_image
from molmo_point.service.decoding import Decoding
from molmo_point.service.job import Job
from molmo_point.service.request_queue import RequestQueue
from molmo_point.service.run import Service
from molmo_point.service.settings import Settings
from molmo_point.service.worker import Worker
from molmo_point.wire import Op, Request, make_image_payload

DEMO = Path(mp.__file__).parent / "nano" / "demo.png"
QUERIES = ("burgers", "watermelon", "zebra", "sailboat")


@pytest.fixture(scope="module")
def nano() -> LocalPointer:
    return mp.load("nano")


def ask_all(url: str, query: str) -> dict[str, Any]:
    """Ask in every way there is."""
    with connect(url) as pointer:
        stream = pointer.stream(DEMO, query, timeout_s=60)
        points = []
        while True:
            try:
                points.append(next(stream))
            except StopIteration as end:
                streamed = end.value
                break
        with pointer.open(DEMO) as view:
            counted = view.count(query, timeout_s=60)
        return {
            "point": pointer.point(DEMO, query, timeout_s=60).text,
            "points": [(p.x, p.y) for p in points],
            "streamed": streamed.text,
            "count": counted.text,
            "ask": pointer.ask(DEMO, f"What is beside {query}?", timeout_s=60),
        }


def test_many_callers_hear_what_they_would_hear_alone(
    start: Callable[..., Service], nano: LocalPointer
) -> None:
    service = start(nano)
    expected = {}
    for query in QUERIES:
        alone = nano.point(DEMO, query)
        expected[query] = {
            "point": alone.text,
            "points": [(p.x, p.y) for p in alone.points],
            "streamed": alone.text,
            "count": nano.count(DEMO, query).text,
            "ask": nano.ask(DEMO, f"What is beside {query}?"),
        }
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask_all, service.zmq.address, query) for query in QUERIES * 2]
        for future, query in zip(asked, QUERIES * 2, strict=True):
            assert future.result(120) == expected[query]


class Watched(LocalPointer):
    """Says how many questions were running in each pass, and holds passes back until it is told to go on."""

    def __init__(self, pointer: LocalPointer) -> None:
        super().__init__(pointer.engine)
        self.together: list[int] = []
        self.entered, self.go = threading.Event(), threading.Event()
        self.fails = False

    def scheduler(self) -> Any:
        scheduler = super().scheduler()
        decoder = scheduler._decoder
        step = decoder.step

        def watched() -> Any:
            self.entered.set()
            self.go.wait(60)
            if self.fails:
                raise RuntimeError("the device is gone")
            self.together.append(self.engine.options.max_batch - decoder.free_rows)
            return step()

        decoder.step = watched  # type: ignore[method-assign]
        return scheduler


def test_questions_share_passes(start: Callable[..., Service], nano: LocalPointer) -> None:
    pointer = Watched(nano)
    service = start(pointer)
    with ThreadPoolExecutor(6) as pool, connect(service.zmq.address) as client:
        asked = [pool.submit(client.point, DEMO, "burgers", timeout_s=60) for _ in range(6)]
        pointer.go.set()
        texts = {future.result(60).text for future in asked}
    assert texts == {nano.point(DEMO, "burgers").text}
    assert max(pointer.together) > 1


def test_no_image_is_decoded_in_the_models_thread(
    start: Callable[..., Service], nano: LocalPointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes long to decode holds up neither raw pixels nor another file; all are cut into crops beside the model."""
    threads: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def decode(image: Any, **options: Any) -> Any:
        threads.append(threading.current_thread().name)
        if len(threads) == 1:
            begun.set()
            assert go_on.wait(60)
        return load_image(image, **options)

    def cut(images: Any, *others: Any) -> Any:
        assert isinstance(images[0], np.ndarray)
        cutting.append(threading.current_thread().name)
        return prepare_images(images, *others)

    cutting: list[str] = []
    expected = nano.point(DEMO, "burgers").text
    monkeypatch.setattr("molmo_point.service.decoding.load_image", decode)
    nano.close()
    monkeypatch.setattr("molmo_point.engine.image_prefix.prepare_images", cut)
    service = start(nano)
    with ThreadPoolExecutor(1) as pool, connect(service.zmq.address) as client:
        held = pool.submit(client.point, DEMO, "burgers", timeout_s=60)
        assert begun.wait(60)
        assert client.point(load_image(DEMO), "burgers", timeout_s=60).text == expected
        assert client.point(DEMO, "burgers", timeout_s=60).text == expected
        assert not held.done()
        go_on.set()
        assert held.result(60).text == expected
    assert len(threads) == 3
    assert cutting
    assert {name.rpartition("-")[0] for name in [*threads, *cutting]} == {"molmo-decode"}


def test_one_bad_question_spoils_no_other(
    start: Callable[..., Service], nano: LocalPointer
) -> None:
    pointer = Watched(nano)
    service = start(pointer)
    with ThreadPoolExecutor(4) as pool, connect(service.zmq.address) as client:
        good = pool.submit(client.point, DEMO, "burgers", timeout_s=60)
        bad = pool.submit(client.point, b"\xff\xd8\xff no image", "burgers", timeout_s=60)
        pointer.go.set()
        with pytest.raises(ImageError):
            bad.result(60)
        assert good.result(60).points


def test_a_cancelled_question_has_no_further_pass(
    start: Callable[..., Service], nano: LocalPointer
) -> None:
    pointer = Watched(nano)
    service = start(pointer)
    with ThreadPoolExecutor(1) as pool, connect(service.zmq.address) as client:
        stream = client.stream(DEMO, "burgers", timeout_s=60)
        first = pool.submit(next, stream)
        assert pointer.entered.wait(60)
        stream.cancel()
        with pytest.raises(Cancelled):  # while its first pass is still held back
            first.result(60)
        client.info()  # the cancellation was sent before, so the server has it now
        pointer.go.set()
        assert client.point(DEMO, "burgers", timeout_s=60).points
        passes = len(pointer.together)
        assert client.point(DEMO, "burgers", timeout_s=60).points
    assert max(pointer.together) == 1
    assert passes == 1 + len(pointer.together) - passes


def test_a_failing_model_is_an_error_and_the_server_goes_on(
    start: Callable[..., Service], nano: LocalPointer
) -> None:
    pointer = Watched(nano)
    pointer.go.set()
    pointer.fails = True
    service = start(pointer)
    with connect(service.zmq.address) as client:
        with pytest.raises(PointError, match="the server failed while answering"):
            client.point(DEMO, "burgers", timeout_s=60)
        pointer.fails = False
        assert client.point(DEMO, "burgers", timeout_s=60).points


def test_stopping_answers_what_is_at_work(nano: LocalPointer) -> None:
    pointer = Watched(nano)
    queue = RequestQueue(4, 10**9)
    worker = Worker(lambda: pointer, queue, Settings())
    request = Request(id="a", op=Op.POINT, query="burgers")
    job = Job(
        request, make_image_payload(DEMO), caller="me", transport="zmq", default_timeout_s=60
    )
    queue.put(job)
    decoding = Decoding(queue, 10**8)
    decoding.start()
    worker.start()
    entered = threading.Event()
    replies: list[Any] = []
    job.listen(entered, replies.append)
    deadline = time.monotonic() + 60
    while len(queue) and time.monotonic() < deadline:
        time.sleep(0.01)
    threading.Timer(0.5, pointer.go.set).start()
    worker.stop(30)
    decoding.stop()
    assert not worker.alive
    assert replies[-1].pointing.text == nano.point(DEMO, "burgers").text


class Named(LocalPointer):
    """nano's weights under another name: nano itself is known to answer no free questions."""

    @property
    def model(self) -> str:
        """Not nano."""
        return "other"


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_without_an_image_is_answered_by_the_model(
    start: Callable[..., Service], nano: LocalPointer, stream: bool
) -> None:
    httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")
    question = "What is beside the burgers?"
    alone = nano.scheduler()
    alone.add("question", None, question, kind="text", timeout_s=60)
    results: list[Any] = []
    while alone.has_work:
        results += [news.result for news in alone.step() if news.result is not None]
    service = start(Named(nano.engine), zmq=False, http=True)
    body = {
        "model": "other",
        "messages": [{"role": "user", "content": question}],
        "stream": stream,
    }
    response = httpx.post(f"{service.http.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 200, response.text
    if stream:
        data = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
        pieces = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in data]
        assert "".join(pieces).strip() == str(results[0])
    else:
        assert response.json()["choices"][0]["message"]["content"] == str(results[0])


def test_the_engine_answers_as_many_together_as_the_server_was_told() -> None:
    with mp.serve("nano", zmq=None, http="127.0.0.1:0", max_batch=2, block=False) as server:
        pointer = server.dispatcher.worker._load()
    assert pointer.scheduler().free_rows == 2  # type: ignore[attr-defined]
