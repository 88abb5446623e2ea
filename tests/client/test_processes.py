"""One pointer in several processes: each has a name and connections of its own; a pickled one connects again."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from molmo_point.client import RemotePointer, connect
from molmo_point.client.per_process import PerProcess
from molmo_point.client.subscribe import subscribe
from molmo_point.errors import BatchError, MissingExtra, PointError, QueryError, UsageError
from molmo_point.images import Array
from molmo_point.points import FinishReason, Text
from molmo_point.service.run import ServeOptions, Service
from molmo_point.testing import FakePointer

FORKING = """
import multiprocessing, sys
import numpy as np
import molmo_point as mp

pointer = mp.connect(sys.argv[1], timeout_s=20, connect_timeout_s=30)

def ask(red):
    frame = np.full((8, 8, 3), red, np.uint8)
    return round(pointer.point(frame, "mug").points[0].x * 255)

ask(1)  # a connection that the children must not use
stream = pointer.stream(np.full((8, 8, 3), 9, np.uint8), "mug")
next(stream)  # a request under way, which dies with the children and must go on here
with multiprocessing.get_context("fork").Pool(3) as pool:
    reds = list(range(10, 250, 10))
    assert pool.map_async(ask, reds, chunksize=1).get(60) == reds
assert ask(77) == 77
print([round(point.x * 255) for point in stream])
pointer.close()
"""


def _brightness(image: Array, query: str) -> list[tuple[float, float]]:
    return [(float(image.mean()) / 255, 0.5)] * 2


@pytest.fixture(params=["zmq", "http"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server whose answers tell which image they are about."""
    over_zmq = request.param == "zmq"
    options = ServeOptions(
        zmq="tcp://127.0.0.1:*" if over_zmq else None,
        publish=None,
        http=None if over_zmq else ("127.0.0.1", 0),
    )
    service = Service(lambda: FakePointer(_brightness), options)
    service.start()
    yield service.zmq.address if over_zmq else service.http.url  # type: ignore[union-attr]
    service.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_workers_get_answers_about_their_own_images(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, url],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[9]"


def test_a_pickled_pointer_connects_again(url: str) -> None:
    with connect(url, timeout_s=7.0, connect_timeout_s=30, camera="front") as pointer:
        again: RemotePointer = pickle.loads(pickle.dumps(pointer))
        twin = copy.deepcopy(pointer)
    with again, twin:
        for number, other in enumerate((again, twin)):
            image = np.full((4, 4, 3), 51 * (number + 1), np.uint8)
            assert other.point(image, "mug").points[0].x == pytest.approx(0.2 * (number + 1))
        assert again.budget(None) == 7.0
        names = {p.request("hello", None).client for p in (pointer, again, twin)}  # type: ignore[arg-type]
    assert len(names) == 3


def test_what_cannot_be_made_again_says_so(url: str) -> None:
    with connect(url) as pointer:
        view = pointer.open(np.zeros((4, 4, 3), np.uint8))
        with pytest.raises(UsageError, match="an opened view belongs to its process"):
            pickle.dumps(view)
        bare = RemotePointer(pointer._transport)
        with pytest.raises(UsageError, match="connect in the other process"):
            pickle.dumps(bare)
    subscription = subscribe("tcp://127.0.0.1:9")
    with subscription, pytest.raises(UsageError, match="subscribe in the other one"):
        pickle.dumps(subscription)


def test_a_value_of_a_process_is_made_once_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    value = PerProcess(lambda: made.append(1) or len(made))  # type: ignore[func-returns-value]
    assert [value.get(), value.get()] == [1, 1]
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    assert [value.get(), value.get()] == [2, 2]


@pytest.mark.parametrize(
    "error",
    [
        QueryError("empty"),
        MissingExtra("torch", "loading", "pip install x"),
        BatchError([QueryError("one"), "two"]),
    ],
)
def test_errors_reach_the_parent_of_a_worker(error: PointError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    if isinstance(error, BatchError):
        assert [str(result) for result in back.results] == ["one", "two"]


def test_texts_keep_why_they_ended() -> None:
    back: Any = pickle.loads(pickle.dumps(Text("cut", FinishReason.LENGTH)))
    assert (back, back.finish_reason, back.complete) == ("cut", FinishReason.LENGTH, False)
