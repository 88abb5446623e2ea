"""`mp.serve`: one's own Pointer behind both transports, and the lines a stranger can write into its log."""

from __future__ import annotations

import json
import logging
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

import molmo_point as mp
from molmo_point.errors import BatchError, PointError, TimedOut, UsageError
from molmo_point.service.log_limit import LogLimit
from molmo_point.service.own_pointer import complete
from molmo_point.service.zmq.keys import new_client

IMAGE = np.zeros((6, 8, 3), np.uint8)


class OnlyPoints:
    """The least that can be served."""

    closed = False

    def point(self, image: Any, query: str, **options: Any) -> mp.Pointing:
        if query == "nothing":
            return None  # type: ignore[return-value]
        points = (mp.Point(x=0.5, y=0.5, label=query), mp.Point(x=0.1, y=0.2, label=query))
        return mp.Pointing(query=query, points=points, status=mp.Status.FOUND, image_size=(8, 6))

    def close(self) -> None:
        self.closed = True


def background(pointer: object, **options: Any) -> Any:
    return mp.serve(pointer, zmq="tcp://127.0.0.1:*", http="127.0.0.1:0", block=False, **options)


def test_a_method_that_points_is_enough() -> None:
    own = OnlyPoints()
    with background(own) as server:
        for url in (server.zmq.address, server.http.url):
            pytest.importorskip("httpx", reason="the extra 'client' is not installed")
            with mp.connect(url) as pointer:
                assert pointer.model == "OnlyPoints"
                assert pointer.point(IMAGE, "mug").count == pointer.count(IMAGE, "mug").count == 2
                assert len(list(pointer.stream(IMAGE, "mug"))) == 2
                assert [p.count for p in pointer.point_many([(IMAGE, "a"), (IMAGE, "b")])] == [
                    2,
                    2,
                ]
                with pointer.open(IMAGE) as view:
                    assert view.image_size == (8, 6)
                    assert view.point("cup").query == "cup"
                with pytest.raises(UsageError, match="answers no questions in text"):
                    pointer.ask(IMAGE, "what?")
                with pytest.raises(PointError, match=r"OnlyPoints.point returned NoneType, expected a Pointing"):  # fmt: skip
                    pointer.point(IMAGE, "nothing")
    assert not own.closed


class Moody(OnlyPoints):
    """Fails for two queries, in two ways."""

    def __init__(self) -> None:
        self.limits: list[float | None] = []

    def point(self, image: Any, query: str, **options: Any) -> mp.Pointing:
        self.limits.append(options.get("timeout_s"))
        if query == "late":
            raise TimedOut("too late")
        if query == "bug":
            raise KeyError(query)
        return super().point(image, query, **options)


def test_one_failure_does_not_lose_the_other_answers() -> None:
    moody = Moody()
    requests: list[Any] = [(IMAGE, "a"), (IMAGE, "late"), (IMAGE, "bug"), IMAGE, (IMAGE, "nothing"), (IMAGE, "b")]  # fmt: skip
    with pytest.raises(BatchError, match="4 of 6 requests failed; the first is request 1: too late") as caught:  # fmt: skip
        complete(moody).point_many(requests, timeout_s=9.0)
    a, late, bug, no_pair, nothing, b = caught.value.results
    assert (a.count, b.count) == (2, 2)
    assert isinstance(late, TimedOut)
    assert str(bug) == "Moody.point raised KeyError('bug')"
    assert isinstance(bug.__cause__, KeyError)
    assert str(no_pair) == "expected each request as (image, query), got ndarray as request 3"
    assert "returned NoneType, expected a Pointing" in str(nothing)
    limits = [limit for limit in moody.limits if limit is not None]
    assert len(limits) == 5
    # One limit for all of them.
    assert 9.0 >= limits[0] >= limits[-1] > 8.0
    assert [p.count for p in complete(moody).point_many([(IMAGE, "a")])] == [2]


def test_what_is_made_here_is_made_in_its_thread_and_closed() -> None:
    made: list[tuple[str, OnlyPoints]] = []

    def make() -> OnlyPoints:
        made.append((threading.current_thread().name, OnlyPoints()))
        return made[-1][1]

    server = background(make, capacity=4)
    with mp.connect(server.zmq.address) as pointer:
        assert pointer.point(IMAGE, "mug").count == 2
        assert pointer.info().capacity == 4
    server.stop()
    assert made[0][0] == "molmo-worker"
    assert made[0][1].closed


def test_what_cannot_be_served_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match=r"expected a Pointer: a method point\(image, query"):
        background(object())
    with pytest.raises(UsageError, match="unknown option colour"):
        background(OnlyPoints(), colour="red")
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        mp.serve(OnlyPoints(), zmq=None, http="nonsense", block=False)


def test_a_model_that_cannot_be_made_is_said_to_be() -> None:
    def fail() -> OnlyPoints:
        raise RuntimeError("no such device")

    with background(fail) as server, mp.connect(server.zmq.address) as pointer:
        with pytest.raises(PointError, match="the server has no model: loading it failed"):
            pointer.point(IMAGE, "mug")
        with pytest.raises(PointError, match="no such device"):
            server.run(threading.Event())


class InBatches(OnlyPoints):
    """Answers a batch, or one question, in 20 ms; keeps what was in each."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def point_many(self, requests: Any, *, timeout_s: float | None = None) -> list[mp.Pointing]:
        queries = [query for _, query in requests]
        self.batches.append(queries)
        time.sleep(0.02)
        return [super(InBatches, self).point(IMAGE, query) for query in queries]

    def point(self, image: Any, query: str, **options: Any) -> mp.Pointing:
        return self.point_many([(image, query)])[0]


@pytest.mark.parametrize("connections", [1, 6])
def test_a_polite_caller_is_in_the_next_batch_beside_a_flooder(connections: int) -> None:
    """The flooder takes a new name for each question; its place in a batch is its connection's."""
    own = InBatches()
    over = threading.Event()
    context: zmq.Context[Any] = zmq.Context()
    image = {"encoding": "raw", "shape": [6, 8, 3], "dtype": "uint8"}

    def flood(address: str) -> None:
        socket = context.socket(zmq.DEALER)
        socket.connect(address)
        number = under_way = 0
        while not over.is_set():
            while under_way < 100:
                number, under_way = number + 1, under_way + 1
                header = {"v": 1, "id": str(number), "client": f"c{number}", "op": "point"}
                header |= {"query": "flood", "timeout_s": 30, "image": image}
                socket.send_multipart([json.dumps(header).encode(), bytes(144)])
            while socket.poll(5):
                socket.recv()
                under_way -= 1
        socket.close(0)

    with background(own) as server, mp.connect(server.zmq.address) as polite:
        floods = [
            threading.Thread(target=flood, args=(server.zmq.address,), daemon=True)
            for _ in range(connections)
        ]
        for thread in floods:
            thread.start()
        asked: list[int] = []
        for number in range(12):
            time.sleep(0.03)
            asked.append(len(own.batches))
            polite.point(IMAGE, f"polite{number}", timeout_s=10)
        over.set()
        for thread in floods:
            thread.join(10)
    context.destroy(0)
    assert sum("flood" in batch for batch in own.batches) > 12
    polites = [name for batch in own.batches for name in batch if name != "flood"]
    assert polites == [f"polite{number}" for number in range(12)]
    places = [n for n, batch in enumerate(own.batches) if set(batch) != {"flood"}]
    # At most one batch begins while the question is on its way.
    assert (
        statistics.median(place - before for place, before in zip(places, asked, strict=True)) <= 1
    )
    assert max(len(batch) for batch in own.batches) <= connections + 1


def test_strangers_write_few_lines_into_the_log(caplog: Any) -> None:
    log = logging.getLogger("uvicorn.error")
    with LogLimit(lines=3, every_s=1000.0), caplog.at_level(logging.WARNING, "uvicorn.error"):
        for number in range(50):
            log.warning("Invalid HTTP request received.")
            log.warning("odd %d", number)
    assert len(caplog.records) == 6
    caplog.clear()
    with LogLimit(lines=1, every_s=0.0) as limit:
        limit._seen[("uvicorn.error", "again")] = (0.0, 8)
        log.warning("again")
    assert "7 more lines of this kind" in caplog.text
    assert log.filters == []


def test_the_folder_of_keys_is_its_owners_alone(tmp_path: Path) -> None:
    new_client(tmp_path / "deep" / "keys", "robot1")
    for folder in ("deep/keys", "deep/keys/clients"):
        assert (tmp_path / folder).stat().st_mode & 0o077 == 0, folder
