"""The stages of a question in a server: clients leave in each, a deadline passes in one, a flood delays nobody for long."""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

import molmo_point as mp
from molmo_point.client import connect
from molmo_point.engine.local import LocalPointer
from molmo_point.engine.scheduler import Scheduler
from molmo_point.errors import Cancelled
from molmo_point.images import Array
from molmo_point.model.kv_cache import KVCache
from molmo_point.service.run import Service

WAIT_S = 60.0
STAGES = ("prepare", "vision", "prefix", "decode")


def noise(seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, 255, (300, 400, 3), dtype=np.uint8)


class Staged(LocalPointer):
    """nano, held back in one stage until the gate opens; counts what is done in each."""

    def __init__(self, pointer: LocalPointer, held: str, patch: pytest.MonkeyPatch) -> None:
        super().__init__(pointer.engine)
        self.entered, self.gate = threading.Event(), threading.Event()
        self.done: list[str] = []
        self.added: list[str] = []
        self.ahead: list[bool] = []
        self._held = held
        self.made: Scheduler | None = None
        network = pointer.network
        encoder, decoder = pointer.engine.encoder, network.decoder
        see, read, prepare = encoder._vision, decoder.forward, encoder.prepare

        def decode(x: Any, positions: Any, **others: Any) -> Any:
            self._note("prefix" if isinstance(others["cache"], KVCache) else "decode")
            return read(x, positions, **others)

        patch.setattr(encoder, "prepare", lambda *of: (self._note("prepare"), prepare(*of))[1])
        patch.setattr(encoder, "_vision", lambda crops: (self._note("vision"), see(crops))[1])
        patch.setattr(decoder, "forward", decode)

    def _note(self, stage: str) -> None:
        self.done.append(stage)
        if stage == self._held and not self.gate.is_set():
            self.entered.set()
            assert self.gate.wait(WAIT_S), "the test never opened the gate"

    def scheduler(self) -> Scheduler:
        self.made = scheduler = super().scheduler()
        add = scheduler.add

        def added(key: Any, image: Any, query: str, **others: Any) -> None:
            self.added.append(query)
            self.ahead.append(others["ahead"])
            add(key, image, query, **others)

        scheduler.add = added  # type: ignore[method-assign]
        return scheduler


@pytest.fixture(scope="module")
def nano() -> LocalPointer:
    return mp.load("nano")


@pytest.fixture
def staged(
    nano: LocalPointer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Staged]]:
    made: list[Staged] = []

    def begin(held: str) -> Staged:
        nano.close()
        made.append(Staged(nano, held, monkeypatch))
        return made[-1]

    yield begin
    for pointer in made:
        pointer.gate.set()


def eventually(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT_S
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def cancelled(service: Service) -> float:
    """How many questions have ended because their client left."""
    return sum(
        service.dispatcher.metrics.value(
            "molmo_point_requests_total", op=op, transport=transport, outcome="cancelled"
        )
        for op in ("point", "stream")
        for transport in ("zmq", "http")
    )


def leave_http(service: Service, pointer: Staged, image: Array) -> None:
    """Ask over HTTP, and close the connection while the question is in its stage."""
    httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")
    assert service.http is not None
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    url = httpx.URL(service.http.url + "/v1/point")
    built = httpx.Request("POST", url, data={"query": "burgers"}, files={"image": file.getvalue()})
    connection = http.client.HTTPConnection(url.host, url.port, timeout=WAIT_S)
    connection.request("POST", url.path, built.read(), dict(built.headers))
    assert pointer.entered.wait(WAIT_S)
    connection.close()


def leave_zmq(service: Service, pointer: Staged, image: Array) -> None:
    """Ask over ZeroMQ, and cancel while the question is in its stage."""
    assert service.zmq is not None
    with connect(service.zmq.address) as client, ThreadPoolExecutor(1) as pool:
        stream = client.stream(image, "burgers", timeout_s=WAIT_S)
        first = pool.submit(next, stream)
        assert pointer.entered.wait(WAIT_S)
        stream.cancel()
        with pytest.raises(Cancelled):
            first.result(WAIT_S)


@pytest.mark.parametrize("leave", [leave_http, leave_zmq])
@pytest.mark.parametrize("stage", STAGES)
def test_a_client_leaves_in_each_stage(
    start: Callable[..., Service],
    staged: Callable[[str], Staged],
    nano: LocalPointer,
    stage: str,
    leave: Callable[[Service, Staged, Array], None],
) -> None:
    pointer = staged(stage)
    service = start(pointer, http=True)
    leave(service, pointer, noise(1))
    assert eventually(lambda: cancelled(service) == 1)  # while its stage is still held back
    begun = list(pointer.done)
    pointer.gate.set()
    assert eventually(lambda: pointer.made is not None and not pointer.made.has_work)
    assert pointer.made is not None
    assert pointer.made.free_rows == nano.engine.options.max_batch
    assert len(service.dispatcher._queue) == 0
    assert begun.count(stage) == 1
    with connect(service.zmq.address) as client:
        answer = client.point(noise(2), "burgers", timeout_s=WAIT_S)
    later = pointer.done[len(begun) :]
    pointer.done.clear()
    scheduler = nano.scheduler()
    scheduler.add("alone", noise(3), "burgers")
    while scheduler.has_work:
        scheduler.step()
    alone = list(pointer.done)
    # Of the question that was left nothing was done after that piece of work: what follows is the next one's.
    assert sorted(set(later)) == sorted(set(alone))
    assert later.count("vision") == alone.count("vision")
    assert later.count("prefix") == alone.count("prefix")
    assert answer.text == nano.point(noise(2), "burgers").text


def test_a_deadline_that_passes_in_a_stage_is_told_and_frees_the_row(
    start: Callable[..., Service], staged: Callable[[str], Staged]
) -> None:
    pointer = staged("vision")
    service = start(pointer)
    with connect(service.zmq.address) as client, ThreadPoolExecutor(1) as pool:
        late = pool.submit(client.point, noise(1), "burgers", timeout_s=1.0)
        assert pointer.entered.wait(WAIT_S)
        time.sleep(1.0)
        pointer.gate.set()
        answer = late.result(WAIT_S)
        assert answer.status is mp.Status.TRUNCATED
        assert answer.points == ()
        assert pointer.made is not None
        assert not pointer.made.has_work
        assert "prefix" not in pointer.done
        assert (
            client.point(noise(2), "burgers", timeout_s=WAIT_S).status is not mp.Status.TRUNCATED
        )


def test_a_flood_is_let_in_one_image_before_somebody_else(
    start: Callable[..., Service], staged: Callable[[str], Staged]
) -> None:
    """Ten questions of one client wait, its first image is under way: the next image is that of the next client that asks."""
    pointer = staged("vision")
    service = start(pointer)
    address = service.zmq.address
    with connect(address) as flooding, connect(address) as polite, ThreadPoolExecutor(11) as pool:
        flood = [
            pool.submit(flooding.point, noise(seed), "burgers", timeout_s=WAIT_S)
            for seed in range(10)
        ]
        assert pointer.entered.wait(WAIT_S)
        assert eventually(lambda: len(service.dispatcher._queue) == 9)
        assert pointer.added == ["burgers"]
        asked = pool.submit(polite.point, noise(99), "zebra", timeout_s=WAIT_S)
        assert eventually(
            lambda: any(
                j.request.query == "zebra" and j.prepared for j in service.dispatcher._queue._jobs
            )
        )
        pointer.gate.set()
        asked.result(WAIT_S)
        answered = sum(question.done() for question in flood)
        for question in flood:
            question.result(WAIT_S)
    assert pointer.added.index("zebra") == 1
    assert answered <= 2  # the one that was under way, and one that overtook with fewer passes
    ahead = dict(zip(pointer.added, pointer.ahead, strict=True))
    assert ahead["zebra"]


def test_callers_with_one_question_each_go_in_order(
    start: Callable[..., Service], staged: Callable[[str], Staged]
) -> None:
    """Only who has something under way is overtaken."""
    pointer = staged("vision")
    service = start(pointer)
    address = service.zmq.address
    with connect(address) as one, connect(address) as other, ThreadPoolExecutor(3) as pool:
        first = pool.submit(one.point, noise(1), "burgers", timeout_s=WAIT_S)
        assert pointer.entered.wait(WAIT_S)
        second = pool.submit(other.point, noise(2), "zebra", timeout_s=WAIT_S)
        third = pool.submit(one.point, noise(3), "cat", timeout_s=WAIT_S)
        assert eventually(
            lambda: sum(bool(j.prepared) for j in service.dispatcher._queue._jobs) > 1
        )
        pointer.gate.set()
        for question in (first, second, third):
            question.result(WAIT_S)
    assert pointer.added == ["burgers", "zebra", "cat"]
    assert pointer.ahead[:2] == [True, True]
