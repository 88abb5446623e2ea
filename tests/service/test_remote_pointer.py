"""A server is a Pointer: over both transports the same questions get the same answers as from the Pointer behind it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molmo_point.client import RemotePointer, connect
from molmo_point.errors import (
    BatchError,
    Busy,
    ImageError,
    QueryError,
    ServerGone,
    ServiceError,
    Superseded,
    TimedOut,
    UsageError,
)
from molmo_point.images import Array
from molmo_point.pointer import Pointer, View
from molmo_point.points import Point, Pointing, Status, Timing
from molmo_point.testing import FakePointer
from tests.service.addresses import address

Connect = Callable[..., RemotePointer]

CUP = Point(x=0.125, y=0.75, label="cup", score=0.5, covariance=(1e-4, 2e-5, 3e-4))


def fake(**options: Any) -> FakePointer:
    return FakePointer(
        {"cup": [CUP, CUP], "mug": [(0.25, 0.5)], "bad": QueryError("no such thing")},
        texts={"hello": "good day to you"},
        **options,
    )


@pytest.fixture(params=["zmq", "http"])
def transport(request: pytest.FixtureRequest, start: Callable[..., Any]) -> Iterator[Connect]:
    """Start a server over a Pointer and connect to it, by one transport or the other."""
    kind = request.param
    opened: list[RemotePointer] = []

    def begin(pointer: Pointer, *, limits: dict[str, Any] | None = None, **options: Any) -> Any:
        service = start(pointer, zmq=kind == "zmq", http=kind == "http", limits=limits)
        opened.append(connect(address(service, kind), **options))
        opened[-1].service = service  # type: ignore[attr-defined]
        return opened[-1]

    yield begin
    for pointer in opened:
        pointer.close()


def bare(pointing: Pointing) -> Pointing:
    """Without the times, which no two answers share."""
    return pointing.replace(timing=Timing())


def test_it_is_a_pointer(transport: Connect, image: Array) -> None:
    pointer = transport(fake())
    assert isinstance(pointer, Pointer)
    assert pointer.model == "fake"
    with pointer.open(image) as view:
        assert isinstance(view, View)


def test_answers_are_those_of_the_pointer_behind(transport: Connect, image: Array) -> None:
    local, remote = fake(), transport(fake())
    for query in ("cup", "mug", "nothing"):
        for method in ("point", "count"):
            expected = getattr(local, method)(image, query, stamp_ns=-5, frame_id="camera/ä")
            got = getattr(remote, method)(image, query, stamp_ns=-5, frame_id="camera/ä")
            assert bare(got) == bare(expected)
    assert remote.ask(image, "hello") == "good day to you"
    assert remote.ask(image, "something else") == ""


def test_streams_yield_and_return_what_the_pointer_does(transport: Connect, image: Array) -> None:
    local, remote = fake(), transport(fake())
    for query in ("cup", "nothing"):
        assert drain(remote.stream(image, query, stamp_ns=7)) == drain(
            local.stream(image, query, stamp_ns=7)
        )
    assert drain(remote.stream_text(image, "hello")) == drain(local.stream_text(image, "hello"))


def drain(stream: Any) -> tuple[list[Any], Any]:
    items = []
    while True:
        try:
            items.append(next(stream))
        except StopIteration as stop:
            value = stop.value
            return items, bare(value) if isinstance(value, Pointing) else value


def test_an_opened_image_answers_like_the_image(transport: Connect, image: Array) -> None:
    local, remote = fake(), transport(fake())
    with remote.open(image) as view:
        assert view.image_size == (80, 60)
        assert bare(view.point("cup")) == bare(local.point(image, "cup"))
        assert bare(view.count("mug")) == bare(local.count(image, "mug"))
        assert view.ask("hello") == "good day to you"
        assert drain(view.stream("cup")) == drain(local.stream(image, "cup"))
        assert drain(view.stream_text("hello"))[1] == "good day to you"
    with pytest.raises(UsageError, match="this view is closed"):
        view.point("cup")
    view.close()


def test_a_view_that_the_server_forgot_is_opened_again(transport: Connect, image: Array) -> None:
    behind = OpenCounter()
    remote = transport(behind, limits={"max_views": 1})
    first, second = remote.open(image), remote.open(image)
    assert behind.opened == 2
    assert first.point("mug").count == 1  # `second` had pushed it out
    assert behind.opened == 3
    assert drain(second.stream("mug"))[1].count == 1
    assert behind.opened == 4
    first.close()
    second.close()


class OpenCounter(FakePointer):
    def __init__(self) -> None:
        super().__init__({"mug": [(0.25, 0.5)]})
        self.opened = 0

    def open(self, image: Any) -> Any:
        self.opened += 1
        return super().open(image)


def test_many_questions_are_answered_in_their_order(transport: Connect, image: Array) -> None:
    remote = transport(
        FakePointer(lambda array, query: [(int(query) / 100, 0.5)]), limits={"capacity": 8}
    )
    pointings = remote.point_many([(image, str(number)) for number in range(60)])
    assert [p.points[0].x for p in pointings] == [n / 100 for n in range(60)]
    assert [p.query for p in pointings] == [str(n) for n in range(60)]
    with pytest.raises(BatchError, match=r"1 of 3 requests failed.*query is empty") as caught:
        remote.point_many([(image, "1"), (image, ""), (image, "2")])
    first, failed, third = caught.value.results
    assert (first.query, third.query) == ("1", "2")  # type: ignore[attr-defined]
    assert isinstance(failed, QueryError)


def test_every_kind_of_image_gets_there(transport: Connect, image: Array, tmp_path: Any) -> None:
    seen: list[Array] = []

    def look(array: Array, query: str) -> list[Point]:
        seen.append(array)
        return []

    remote = transport(FakePointer(look))
    pil = Image.fromarray(image)
    path = tmp_path / "image.png"
    pil.save(path)
    for source in (image, pil, path, str(path), path.read_bytes()):
        assert remote.point(source, "mug").image_size == (80, 60)
        np.testing.assert_array_equal(seen[-1], image)


def test_refusals_are_the_exceptions_of_the_pointer_behind(
    transport: Connect, image: Array
) -> None:
    remote = transport(fake(), limits={"max_pixels": 5000, "max_query_chars": 10})
    with pytest.raises(QueryError, match="the query is empty"):
        remote.point(image, "  ")
    with pytest.raises(QueryError, match="11 characters, the limit is 10"):
        remote.point(image, "x" * 11)
    with pytest.raises(QueryError, match="no such thing"):
        remote.point(image, "bad")
    with pytest.raises(QueryError, match="no such thing"):
        list(remote.stream(image, "bad"))
    with pytest.raises(ImageError, match="this server takes 5,000"):
        remote.point(np.zeros((100, 100, 3), np.uint8), "mug")
    with pytest.raises(ImageError, match="cut short"):
        remote.point(jpeg(image)[:2000], "mug")
    with pytest.raises(ImageError, match="not an image"):
        remote.point(b"GIF89a....", "mug")
    assert remote.point(image, "mug").count == 1


def jpeg(image: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_failure_inside_the_server_says_so_and_shows_nothing(
    transport: Connect, image: Array
) -> None:
    def broken(array: Array, query: str) -> list[Point]:
        raise RuntimeError("secret path /home/me")

    remote = transport(FakePointer(broken))
    with pytest.raises(ServiceError, match="RuntimeError") as caught:
        remote.point(image, "mug")
    assert "secret" not in str(caught.value)
    assert type(caught.value) is ServiceError


def test_a_deadline_that_passes_at_work_is_an_answer(transport: Connect, image: Array) -> None:
    remote = transport(fake(delay_s=5.0))
    pointing = remote.point(image, "mug", timeout_s=0.3)
    assert pointing.status is Status.TRUNCATED
    assert pointing.points == ()


def test_a_deadline_that_passes_in_the_queue_is_an_error(
    transport: Connect, image: Array, gate: Any
) -> None:
    remote = transport(gate)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(remote.point, image, "first")
        assert gate.entered.acquire(timeout=10)
        pool_two = ThreadPoolExecutor(1)
        second = pool_two.submit(remote.point, image, "second", timeout_s=0.2)
        time.sleep(0.4)
        gate.open_.set()
        assert first.result(10).count == 1
        with pytest.raises(TimedOut, match="while the question waited"):
            second.result(10)
        pool_two.shutdown()
    assert gate.calls == [("point", "first")]


def test_a_full_queue_says_busy_and_loses_nothing(
    transport: Connect, image: Array, gate: Any
) -> None:
    remote = transport(gate, limits={"capacity": 4, "max_batch": 1})
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(remote.point, image, "first")
        assert gate.entered.acquire(timeout=10)
        waiting = [pool.submit(remote.point, image, str(n)) for n in range(3)]
        until = time.monotonic() + 10
        while remote.info().waiting < 3 and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(
            Busy, match="this client has 3 questions waiting, one client may have 3"
        ):
            remote.point(image, "one too many")
        gate.open_.set()
        assert first.result(10).query == "first"
        assert [job.result(10).query for job in waiting] == ["0", "1", "2"]


def test_the_newest_frame_of_a_camera_wins(transport: Connect, image: Array, gate: Any) -> None:
    remote = transport(gate, camera="front")
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(remote.point, image, "mug", stamp_ns=1)
        assert gate.entered.acquire(timeout=10)
        old = [pool.submit(remote.point, image, query, stamp_ns=2) for query in ("mug", "cup")]
        until = time.monotonic() + 10
        while remote.info().waiting < 2 and time.monotonic() < until:
            time.sleep(0.01)
        new = pool.submit(remote.point, image, "mug", stamp_ns=3)
        for job in old:
            with pytest.raises(Superseded, match="a newer frame of camera front"):
                job.result(10)
        with pytest.raises(Superseded):
            remote.point(image, "mug", stamp_ns=2)  # arrives late: it is old already
        gate.open_.set()
        assert first.result(10).stamp_ns == 1
        assert new.result(10).stamp_ns == 3
    metrics = remote.service.dispatcher.metrics  # type: ignore[attr-defined]
    transport = "zmq" if remote.service.zmq else "http"  # type: ignore[attr-defined]
    counted = metrics.value(
        "molmo_point_requests_total", op="point", transport=transport, outcome="superseded"
    )
    assert counted == 3


def test_health_and_metadata_do_not_wait_for_the_model(
    transport: Connect, image: Array, gate: Any
) -> None:
    remote = transport(gate)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(remote.point, image, "mug")
        assert gate.entered.acquire(timeout=10)
        info = remote.info(timeout_s=2.0)
        assert (info.ready, info.state, info.model) == (True, "ready", "fake")
        gate.open_.set()
        job.result(10)


def test_questions_of_many_threads_are_not_mixed_up(transport: Connect, image: Array) -> None:
    remote = transport(FakePointer(lambda array, query: [(int(query) / 1000, 0.5)]))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: remote.point(image, str(n)), range(200)))
    assert [a.points[0].x for a in answers] == [n / 1000 for n in range(200)]


def test_a_stream_that_is_left_early_is_cancelled(transport: Connect, image: Array) -> None:
    closed = threading.Event()

    class Endless(FakePointer):
        def stream(self, image: Any, query: str, **options: Any) -> Any:
            try:
                for index in range(10**6):
                    time.sleep(0.01)
                    yield Point(x=0.5, y=0.5, index=index)
            finally:
                closed.set()
            return None

    remote = transport(Endless({"mug": [(0.1, 0.2)]}))
    stream = remote.stream(image, "mug")
    assert [next(stream).index for _ in range(3)] == [0, 1, 2]
    stream.close()
    assert closed.wait(10), "the server went on for a caller who had left"
    assert remote.point(image, "mug").count == 1


def test_while_the_model_loads_questions_wait_and_the_server_says_so(
    transport: Connect, image: Array
) -> None:
    loaded = threading.Event()

    def load() -> FakePointer:
        assert loaded.wait(20)
        return fake()

    remote = transport(load)  # type: ignore[arg-type]
    assert (remote.info().ready, remote.info().state) == (False, "loading")
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(remote.point, image, "mug")
        time.sleep(0.1)
        loaded.set()
        assert job.result(10).count == 1
    assert remote.info().state == "ready"


def test_a_closed_pointer_says_so(transport: Connect, image: Array) -> None:
    remote = transport(fake())
    remote.close()
    remote.close()
    with pytest.raises(UsageError, match="closed"):
        remote.point(image, "mug")


def test_a_server_that_stops_is_gone(transport: Connect, image: Array) -> None:
    remote = transport(fake())
    remote.service.stop()  # type: ignore[attr-defined]
    with pytest.raises((ServerGone, Busy)):
        remote.point(image, "mug", timeout_s=1.0)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:9", "http://127.0.0.1:9"])
def test_nobody_at_the_address_is_an_error_at_once(url: str) -> None:
    with pytest.raises(ServerGone, match="nobody answers at"):
        connect(url, connect_timeout_s=0.3)


def test_how_long_silence_is_borne_is_the_callers_choice(transport: Connect, image: Array) -> None:
    remote = transport(fake(), gone_after_s=0.5, timeout_s=300.0)
    remote.service.stop()  # type: ignore[attr-defined]
    with pytest.raises((ServerGone, Busy)):
        remote.point(image, "mug")
    with pytest.raises(UsageError, match="gone_after_s above 0"):
        transport(fake(), gone_after_s=0.0)


@pytest.mark.parametrize("url", ["gpu:5555", "ftp://gpu", "", "tcp://", "tcp://nonsense"])
def test_another_kind_of_address_is_the_users_mistake(url: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        connect(url, connect_timeout_s=0.3)
