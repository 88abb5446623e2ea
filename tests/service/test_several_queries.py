"""Several queries about one image in one request: sent once, encoded once, answered in their order."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.errors import BatchError, ModelFailed, PointError, QueryError
from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.service.http.openapi import PIXEL
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer
from molmo_point.wire import Op, Request, make_image_payload
from tests.service.addresses import address

Start = Callable[..., Service]
WHERE = {"mug": [(0.25, 0.5)], "cup": [(0.5, 0.5), (0.75, 0.5)], "pen": []}


class Spy:
    """A Pointer that counts the images it opens; its views are closed in the thread that opened them."""

    def __init__(self, pointer: Any) -> None:
        self.pointer = pointer
        self.opened: list[Any] = []
        self.closed: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pointer, name)

    def open(self, image: Any) -> Any:
        view = self.pointer.open(image)
        close = view.close
        view.close = lambda: (self.closed.append(view), close())
        self.opened.append(view)
        return view


@pytest.fixture(params=["zmq", "http"])
def connect(request: Any, start: Start) -> Callable[[Any], Any]:
    def begin(pointer: Any, **options: Any) -> Any:
        service = start(pointer, http=True, **options)
        pointer = mp.connect(address(service, request.param))
        pointer.service = service  # type: ignore[attr-defined]
        return pointer

    return begin


def test_each_query_is_answered_in_order(connect: Any, image: Array) -> None:
    spy = Spy(FakePointer(WHERE))
    with connect(lambda: spy) as pointer:
        stream = pointer.point_each(image, ["cup", "pen", "mug", "cup"])
        answers = list(stream)
    assert [(a.query, a.count) for a in answers] == [
        ("cup", 2),
        ("pen", 0),
        ("mug", 1),
        ("cup", 2),
    ]
    wait_for(lambda: len(spy.closed) == 1)
    assert len(spy.opened) == 1


def test_the_model_encodes_the_image_once(connect: Any) -> None:
    nano = mp.load("nano")
    # Its caches forget at once: only the opened view can save the second encoding.
    nano.engine.encoder.images.put = nano.engine.encoder.crops.put = lambda *_: None
    encoded: list[Any] = []
    begin = nano.engine.encoder.begin

    def counting(prepared: Any) -> Any:
        encoded.append(prepared)
        return begin(prepared)

    nano.engine.encoder.begin = counting
    image = np.random.default_rng(1).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    queries = ["red circle", "green square", "blue star", "red circle"]
    with connect(lambda: nano) as pointer:
        answers = list(pointer.point_each(image, queries, timeout_s=60))
        assert len(encoded) == 1
        alone = [pointer.point(image, query, timeout_s=60) for query in queries]
    assert [a.points for a in answers] == [a.points for a in alone]
    assert [a.text for a in answers] == [a.text for a in alone]
    assert sum(a.timing.crops for a in answers) == alone[0].timing.crops > 0


def test_the_image_goes_through_the_stages(
    connect: Any, image: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut beside the model, seen and read in pieces: nothing of it is done whole in the model's thread."""
    nano = mp.load("nano")
    threads: list[str] = []
    prepare = nano.engine.encoder.prepare

    def noted(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return prepare(*arguments)

    def whole(*_: Any, **__: Any) -> Any:
        raise AssertionError("the image was encoded whole")

    monkeypatch.setattr(nano.engine.encoder, "prepare", noted)
    monkeypatch.setattr(nano.engine.encoder, "encode", whole)
    with connect(lambda: nano) as pointer:
        answers = list(pointer.point_each(image, ["star", "moon"], timeout_s=60))
    assert [a.query for a in answers] == ["star", "moon"]
    assert [name.startswith("molmo-decode") for name in threads] == [True]


def test_locally_the_image_is_encoded_once_too() -> None:
    nano = mp.load("nano", max_batch=2)
    image = np.random.default_rng(1).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    queries = ["red circle", "green square", "blue star"]
    stream = nano.point_each(image, queries)
    answers = list(stream)
    assert [a.query for a in answers] == queries
    assert [a.timing.crops > 0 for a in answers] == [True, False, False]
    assert [a.text for a in answers] == [nano.point(image, query).text for query in queries]
    nano.close()


@pytest.mark.parametrize("local", [True, False])
def test_one_query_that_fails_leaves_the_others(connect: Any, image: Array, local: bool) -> None:
    broken = FakePointer({**WHERE, "odd": ModelFailed("NaN in layer 3")})
    with broken_or(connect, broken, local) as pointer:
        heard = []
        with pytest.raises(BatchError, match=r"1 of 3 requests failed.*NaN in layer 3") as caught:
            heard += list(pointer.point_each(image, ["mug", "odd", "cup"]))
        assert [getattr(r, "count", r) for r in caught.value.results[::2]] == [1, 2]


def broken_or(connect: Any, fake: FakePointer, local: bool) -> Any:
    return contextlib.nullcontext(fake) if local else connect(fake)


def test_what_is_no_list_of_queries_is_refused(connect: Any, image: Array) -> None:
    fake = FakePointer(WHERE)
    with connect(fake) as pointer:
        for queries, words in (
            ([], "1 to 16 queries"),
            (["mug"] * 17, "1 to 16 queries"),
            ("mug", "list of queries, got str"),
            (["mug", " "], "query 1: the query is empty"),
        ):
            with pytest.raises(QueryError, match=words):
                pointer.point_each(image, queries)
        assert fake.calls == []


def test_closing_the_stream_cancels_the_queries(connect: Any, gate: Any, image: Array) -> None:
    spy = Spy(gate)
    with connect(lambda: spy) as pointer:
        stream = pointer.point_each(image, ["a", "b", "c"])
        heard: list[Any] = []

        def listen() -> None:
            try:
                heard.extend(stream)
            except PointError as error:
                heard.append(error)

        listener = threading.Thread(target=listen)
        listener.start()
        assert gate.entered.acquire(timeout=20)
        stream.cancel()
        listener.join(20)
        assert [type(h).__name__ for h in heard] == ["Cancelled"]
        wait_for(lambda: not pointer.service.dispatcher._cache.unfinished())
        gate.open_.set()
        wait_for(lambda: len(spy.closed) == 1)
        assert [query for _, query in gate.calls] == ["a"]


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def post(url: str, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_plain_http(start: Start) -> None:
    fake = FakePointer({**WHERE, "odd": ModelFailed("NaN")})
    service = start(fake, zmq=False, http=True)
    assert service.http is not None
    url = service.http.url + "/v1/"
    status, body = post(url + "point", {"image": PIXEL, "queries": ["mug", "odd", "cup"]})
    assert status == 200
    mug, odd, cup = body["answers"]
    assert (mug["count"], odd["error"]["kind"], cup["count"]) == (1, "model_failed", 2)
    status, body = post(url + "count", {"image": PIXEL, "queries": ["cup"]})
    assert (status, body["answers"][0]["stated_count"]) == (200, 2)
    for path, fields, words in (
        ("point", {"queries": ["mug"], "query": "cup"}, "take the place of query"),
        ("point", {"queries": []}, "queries: List should have at least 1 item"),
        ("point", {"queries": ["mug", ""]}, "query 1: the query is empty"),
        ("ask", {"queries": ["mug"]}, "expected one query"),
    ):
        status, body = post(url + path, {"image": PIXEL, **fields})
        assert status == 400
        assert words in body["error"]["message"]


def test_a_server_that_stops_has_everything_asked_again(
    start: Start, gate: Any, image: Array
) -> None:
    """The parts are no answers of their own: the next server is sent the whole request."""
    service = start(gate, http=True)
    assert service.zmq is not None
    replies: list[Any] = []
    payload = make_image_payload(image, "raw")
    request = Request(id="1", op=Op.POINT, queries=("a", "b"), image=payload.header)
    service.dispatcher.submit(
        request, payload.data, caller="me", transport="zmq", owner="me", listener=replies.append
    )
    assert gate.entered.acquire(timeout=20)
    gate.open_.set()
    service.stop()
    assert replies[-1].last
    assert replies[-1].type == "done" or replies[-1].error.kind == "unknown_request"
    assert [r.seq for r in replies] == list(range(len(replies)))


def test_more_images_than_may_be_open_wait_their_turn(start: Start) -> None:
    spy = Spy(FakePointer(lambda image, query: [Point(x=image[0, 0, 0] / 255, y=0.5)]))
    service = start(lambda: spy, limits={"max_views": 1})
    assert service.zmq is not None
    with mp.connect(service.zmq.address) as pointer:
        images = [np.full((6, 8, 3), value, np.uint8) for value in (0, 51, 102)]
        streams = [pointer.point_each(one, ["a", "b"]) for one in images]
        for stream, x in zip(streams, (0.0, 0.2, 0.4), strict=True):
            assert [a.points[0].x for a in stream] == pytest.approx([x, x])
        wait_for(lambda: len(spy.closed) == 3)
