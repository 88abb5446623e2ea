"""Withdrawing a question from another thread, while the gate stays shut: what ends here has not waited for the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from molmo_point.client import RemotePointer, connect
from molmo_point.client.cancellation import CancelToken
from molmo_point.errors import Cancelled
from molmo_point.images import Array
from molmo_point.points import Point, Pointing, Status
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer

WAIT_S = 20.0


class Stuck(FakePointer):
    """Gives one point (or piece), then thinks until the gate opens, or until its stream is cancelled where it can be."""

    def __init__(self, *, can_stop: bool = False) -> None:
        super().__init__({"mug": [(0.1, 0.2)]})
        self.thinking = threading.Semaphore(0)
        self.gate = threading.Event()
        self.ended = threading.Semaphore(0)
        self.can_stop = can_stop

    def stream(self, image: Any, query: str, **options: Any) -> Any:
        point = Point(x=0.5, y=0.5, label=query)
        answer = Pointing(query=query, points=(point,), status=Status.FOUND, image_size=(80, 60))
        return self._thinking_after(point, answer)

    def stream_text(self, image: Any, question: str, **options: Any) -> Any:
        return self._thinking_after("a ", "a mug")

    def _thinking_after(self, first: Any, answer: Any) -> Any:
        def body() -> Iterator[Any]:
            try:
                yield first
                self.thinking.release()
                assert self.gate.wait(60), "the test never opened the gate"
                return answer
            finally:
                self.ended.release()

        return Stoppable(body(), self.gate) if self.can_stop else body()


class Stoppable:
    """A stream that hears `cancel` while it thinks, as one of a model that looks up between two tokens."""

    def __init__(self, body: Iterator[Any], gate: threading.Event) -> None:
        self._body = body
        self.cancel = gate.set
        self.close = body.close  # type: ignore[attr-defined]

    def __next__(self) -> Any:
        return next(self._body)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    pointer = Stuck()
    yield pointer
    pointer.gate.set()


@pytest.fixture(params=["zmq", "http"])
def transport(
    request: pytest.FixtureRequest, start: Callable[..., Service]
) -> Iterator[Callable[[Any], RemotePointer]]:
    """Start a server over a Pointer and connect to it, by one transport or the other."""
    opened: list[RemotePointer] = []

    def begin(pointer: Any) -> RemotePointer:
        service = start(pointer, zmq=request.param == "zmq", http=request.param == "http")
        if service.zmq is not None:
            opened.append(connect(service.zmq.address))
        else:
            pytest.importorskip("httpx", reason="the extra 'client' is not installed")
            assert service.http is not None
            opened.append(connect(service.http.url))
        return opened[-1]

    yield begin
    for pointer in opened:
        pointer.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def waiting(pool: ThreadPoolExecutor, stream: Any, stuck: Stuck) -> Future[Any]:
    """Read a stream's first item, then wait for the second one in another thread."""
    next(stream)
    second = pool.submit(next, stream)
    assert stuck.thinking.acquire(timeout=WAIT_S)
    return second


@pytest.mark.parametrize("of_view", [False, True])
@pytest.mark.parametrize("method", ["stream", "stream_text"])
def test_a_stream_ends_at_once_while_the_model_still_thinks(
    transport: Any,
    image: Array,
    stuck: Stuck,
    pool: ThreadPoolExecutor,
    method: str,
    of_view: bool,
) -> None:
    remote = transport(stuck)
    if of_view:
        stuck.open = lambda image: StuckView(stuck)  # type: ignore[method-assign,assignment,return-value]
        stream = getattr(remote.open(image), method)("cup")
    else:
        stream = getattr(remote, method)(image, "cup")
    second = waiting(pool, stream, stuck)
    stream.cancel()
    stream.cancel()
    with pytest.raises(Cancelled, match="cancelled"):
        second.result(WAIT_S)
    assert not stuck.gate.is_set()
    assert remote.info(timeout_s=5.0).ready
    stuck.gate.set()
    assert stuck.ended.acquire(timeout=WAIT_S)
    assert remote.point(image, "mug", timeout_s=WAIT_S).count == 1


def test_a_withdrawal_does_not_wait_for_the_next_look_at_the_clock(
    start: Callable[..., Service],
    image: Array,
    stuck: Stuck,
    pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client looks up every second to ask whether the server lives; a cancel_token must not wait even for that."""
    service = start(stuck)
    assert service.zmq is not None
    monkeypatch.setattr("molmo_point.client.zmq_channel.PROBE_S", 300.0)
    with connect(service.zmq.address, timeout_s=300.0, gone_after_s=300.0) as remote:
        stream = remote.stream(image, "cup")
        second = waiting(pool, stream, stuck)
        stream.cancel()
        with pytest.raises(Cancelled):
            second.result(WAIT_S)


class StuckView:
    """An opened image of a `Stuck`."""

    image_size = (80, 60)

    def __init__(self, pointer: Stuck) -> None:
        self._pointer = pointer

    def stream(self, query: str, **options: Any) -> Any:
        return self._pointer.stream(None, query)

    def stream_text(self, question: str, **options: Any) -> Any:
        return self._pointer.stream_text(None, question)

    def close(self) -> None:
        pass


def test_a_model_that_can_be_stopped_is_stopped_between_two_points(
    transport: Any, image: Array, pool: ThreadPoolExecutor
) -> None:
    stuck = Stuck(can_stop=True)
    stream = transport(stuck).stream(image, "cup")
    second = waiting(pool, stream, stuck)
    stream.cancel()
    assert stuck.ended.acquire(timeout=WAIT_S), "the model went on"
    with pytest.raises(Cancelled):
        second.result(WAIT_S)


def test_a_withdrawal_goes_through_a_server_in_between(
    start: Callable[..., Service], transport: Any, image: Array, pool: ThreadPoolExecutor
) -> None:
    stuck = Stuck(can_stop=True)
    behind = start(stuck)
    assert behind.zmq is not None
    stream = transport(connect(behind.zmq.address)).stream(image, "cup")
    second = waiting(pool, stream, stuck)
    stream.cancel()
    assert stuck.ended.acquire(timeout=WAIT_S), "the model behind the second server went on"
    with pytest.raises(Cancelled):
        second.result(WAIT_S)


def test_a_question_that_waits_in_the_queue_is_cancelled_unanswered(
    transport: Any, image: Array, gate: Any, pool: ThreadPoolExecutor
) -> None:
    remote = transport(gate)
    first = pool.submit(remote.point, image, "first")
    assert gate.entered.acquire(timeout=WAIT_S)
    stream = remote.stream(image, "second")
    second = pool.submit(next, stream)
    until = time.monotonic() + WAIT_S
    while remote.info().waiting < 1 and time.monotonic() < until:
        time.sleep(0.01)
    stream.cancel()
    with pytest.raises(Cancelled):
        second.result(WAIT_S)
    assert remote.info().waiting == 0
    gate.open_.set()
    assert first.result(WAIT_S).count == 1
    assert gate.calls == [("point", "first")]


def test_a_stream_cancelled_before_it_began_asks_nobody(
    transport: Any, image: Array, stuck: Stuck
) -> None:
    stream = transport(stuck).stream(image, "cup")
    stream.cancel()
    with pytest.raises(Cancelled):
        next(stream)
    assert not stuck.thinking.acquire(timeout=0.2)


def test_cancelling_what_has_ended_changes_nothing(transport: Any, image: Array) -> None:
    remote = transport(FakePointer({"mug": [(0.25, 0.5)]}))
    stream = remote.stream(image, "mug")
    assert [point.x for point in stream] == [0.25]
    stream.cancel()
    again = remote.stream(image, "mug")
    assert next(again).x == 0.25
    again.close()
    again.cancel()
    assert remote.point(image, "mug").count == 1


def test_errors_thrown_into_a_stream_come_out_of_it(transport: Any, image: Array) -> None:
    remote = transport(FakePointer({"mug": [(0.25, 0.5), (0.5, 0.5)]}))
    stream = remote.stream(image, "mug")
    next(stream)
    with pytest.raises(KeyError, match="mine"):
        stream.throw(KeyError("mine"))
    with pytest.raises(StopIteration):
        next(stream)


def test_a_waker_is_called_once_for_a_wish_and_never_after_its_block() -> None:
    calls: list[str] = []
    cancel_token = CancelToken()
    with cancel_token.on_cancel(lambda: calls.append("gone")):
        pass
    with cancel_token.on_cancel(lambda: calls.append("there")):
        cancel_token.cancel()
        cancel_token.cancel()
    with cancel_token.on_cancel(lambda: calls.append("late")):
        assert cancel_token.cancelled
    assert calls == ["there", "late"]
