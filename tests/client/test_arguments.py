"""Wrong arguments of a connected pointer, and of the fake one, are errors of ours, raised before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from molmo_point.client import connect
from molmo_point.defaults import MAX_QUERY_CHARACTERS
from molmo_point.errors import BatchError, ImageError, QueryError, UsageError
from molmo_point.pointer import Pointer
from molmo_point.service.run import ServeOptions, Service
from molmo_point.testing import FakePointer

IMAGE = np.zeros((4, 6, 3), np.uint8)


def _fake() -> FakePointer:
    return FakePointer({"mug": [(0.25, 0.5)], "bad": QueryError("no such thing")})


@pytest.fixture(scope="module", params=["fake", "zmq", "http"])
def pointer(request: pytest.FixtureRequest) -> Iterator[Pointer]:
    if request.param == "fake":
        yield _fake()
        return
    over_zmq = request.param == "zmq"
    options = ServeOptions(
        zmq="tcp://127.0.0.1:*" if over_zmq else None,
        publish=None,
        http=None if over_zmq else ("127.0.0.1", 0),
    )
    service = Service(_fake, options)
    service.start()
    url = service.zmq.address if over_zmq else service.http.url  # type: ignore[union-attr]
    with connect(url, connect_timeout_s=30) as connected:
        yield connected
    service.stop()


TOO_LONG = "x" * (MAX_QUERY_CHARACTERS + 1)


@pytest.mark.parametrize("query", [None, 5, ["mug"], b"mug", "", "  ", TOO_LONG, "caf\udce9"])
def test_queries(pointer: Any, query: Any) -> None:
    for ask in (pointer.point, pointer.count, pointer.ask):
        with pytest.raises(QueryError):
            ask(IMAGE, query)
    for stream in (pointer.stream, pointer.stream_text):
        with pytest.raises(QueryError):
            list(stream(IMAGE, query))
    with pointer.open(IMAGE) as view, pytest.raises(QueryError):
        view.point(query)


@pytest.mark.parametrize("timeout_s", [-1, "a", float("nan"), True])
def test_timeouts(pointer: Any, timeout_s: Any) -> None:
    with pytest.raises(UsageError, match="expected timeout_s"):
        pointer.point(IMAGE, "mug", timeout_s=timeout_s)
    with pytest.raises(UsageError, match="expected timeout_s"):
        pointer.ask(IMAGE, "mug", timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("name", "value"),
    [("stamp_ns", 1.5), ("stamp_ns", 2**63), ("stamp_ns", "1"), ("frame_id", 5), ("frame_id", "caf\udce9")],
)  # fmt: skip
def test_stamps_and_frames(pointer: Any, name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{name}"):
        pointer.point(IMAGE, "mug", **{name: value})


def test_the_longest_query_gets_there(pointer: Any) -> None:
    query = "é" * MAX_QUERY_CHARACTERS
    assert pointer.point(IMAGE, query, timeout_s=float("inf")).query == query


def test_numbers_of_other_libraries_are_numbers(pointer: Any) -> None:
    answer = pointer.point(
        IMAGE, "mug", timeout_s=np.float32(9), stamp_ns=np.int64(7), frame_id=""
    )
    assert answer.stamp_ns == 7


def test_one_bad_image_does_not_lose_the_answers_of_the_others(pointer: Any) -> None:
    requests = [(IMAGE, "mug"), ("no/such.png", "mug"), (IMAGE, "bad"), (IMAGE, "cup")]
    with pytest.raises(
        BatchError, match="2 of 4 requests failed; the first is request 1"
    ) as caught:
        pointer.point_many(requests)
    first, missing, bad, last = caught.value.results
    assert (first.count, last.count) == (1, 0)
    assert isinstance(missing, ImageError)
    assert isinstance(bad, QueryError)
    assert [answer.count for answer in pointer.point_many([(IMAGE, "mug")] * 2)] == [1, 1]
    assert pointer.point_many([]) == []
