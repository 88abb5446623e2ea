"""The reply cache, asking again, failures, and the end of a server: what a client hears, and what it need not know."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import zmq

from molmo_point.client import connect
from molmo_point.images import Array
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer
from molmo_point.wire import make_image_payload

Start = Callable[..., Service]


def mean_red(image: Array, query: str) -> list[tuple[float, float]]:
    return [(float(image[..., 0].mean()) / 255, 0.5)]


def plain(red: int) -> bytes:
    """Raw pixels: 8x6, all equal, so that every such image has as many bytes."""
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[..., 0] = red
    return pixels.tobytes()


QUESTION = {
    "v": 1, "id": "1", "client": "robot", "op": "point", "query": "mug",
    "image": {"encoding": "raw", "shape": [6, 8, 3], "dtype": "uint8"},
}  # fmt: skip


@pytest.fixture
def dealer() -> Iterator[Callable[[Service], Any]]:
    context: zmq.Context[Any] = zmq.Context()

    def begin(service: Service) -> Any:
        assert service.zmq is not None
        socket = context.socket(zmq.DEALER)
        socket.connect(service.zmq.address)
        return socket

    yield begin
    context.destroy(0)


def send(socket: Any, image: bytes | None, **fields: Any) -> None:
    header = json.dumps({**QUESTION, **fields}).encode()
    socket.send_multipart([header] if image is None else [header, image])


def hear(socket: Any) -> dict[str, Any]:
    assert socket.poll(10_000), "no reply"
    reply: dict[str, Any] = json.loads(socket.recv())
    return reply


def about(op: str, **fields: Any) -> bytes:
    return json.dumps({"v": 1, "id": "1", "client": "robot", "op": op, **fields}).encode()


@pytest.mark.parametrize(
    "change",
    [{}, {"stamp_ns": 7}, {"frame_id": "cam"}, {"timeout_s": 9.0}, {"query": "cup"}, {"op": "count"}, {"camera": "a"}],
)  # fmt: skip
def test_a_client_that_starts_anew_may_count_from_one_again(
    start: Start, dealer: Any, change: dict[str, Any]
) -> None:
    service = start(FakePointer(mean_red))
    before, after = dealer(service), dealer(service)
    send(before, plain(51))
    assert hear(before)["pointing"]["points"][0]["x"] == pytest.approx(0.2)
    send(after, plain(204), **change)
    reply = hear(after)
    assert reply["pointing"]["points"][0]["x"] == pytest.approx(0.8)
    assert reply["pointing"].get("stamp_ns") == change.get("stamp_ns")
    assert reply["pointing"].get("frame_id") == change.get("frame_id")
    after.send(about("again"))  # the newer one is known under the id now
    assert hear(after) == reply


def test_another_image_under_the_same_id_is_no_repetition(start: Start, dealer: Any) -> None:
    pointer = FakePointer(mean_red)
    service = start(pointer)
    socket = dealer(service)
    send(socket, plain(51))
    hear(socket)
    send(socket, plain(204))
    assert "used before" in hear(socket)["error"]["message"]
    send(socket, plain(51))
    assert hear(socket)["pointing"]["points"][0]["x"] == pytest.approx(0.2)
    assert len(pointer.calls) == 1


def test_a_request_whose_image_is_no_longer_kept_is_computed_again(
    start: Start, dealer: Any
) -> None:
    """Of the last two images is known whether a request repeats them; of older ones an answer is never guessed."""
    pointer = FakePointer(mean_red)
    service = start(pointer, limits={"memory_image_bytes": 2 * len(plain(0))})
    cache, socket = service.dispatcher._cache, dealer(service)

    def red(name: str, value: int) -> float:
        send(socket, plain(value), id=name)
        x: float = hear(socket)["pointing"]["points"][0]["x"]
        while cache.unfinished():  # the reply leaves before it is noted
            time.sleep(0.001)
        return x * 255

    assert [red(str(n), 10 * n) for n in (1, 2, 3)] == pytest.approx([10, 20, 30])
    assert (red("3", 30), red("2", 20)) == pytest.approx((30, 20))
    assert len(pointer.calls) == 3
    assert red("1", 10) == pytest.approx(10)
    assert len(pointer.calls) == 4
    assert red("2", 77) == pytest.approx(77)  # whose image has made room for the one before
    socket.send(
        about("again", id="3")
    )  # the answer is still there for a client that only asks for it
    assert hear(socket)["pointing"]["points"][0]["x"] == pytest.approx(30 / 255)
    assert len(pointer.calls) == 5
    assert (len(cache), len(cache._images), cache._image_bytes) == (3, 2, 2 * len(plain(0)))


def test_a_failure_is_no_answer_to_be_remembered(start: Start, dealer: Any) -> None:
    asked = []

    def answer(image: Array, query: str) -> list[tuple[float, float]]:
        asked.append(query)
        if len(asked) == 1:
            raise RuntimeError("out of memory")
        return [(0.5, 0.5)]

    service = start(FakePointer(answer))
    socket = dealer(service)
    send(socket, plain(1))
    failed = hear(socket)
    assert failed["error"]["kind"] == "service"
    socket.send(about("again"))  # what was lost on the way is heard again
    assert hear(socket)["error"] == failed["error"]
    send(socket, plain(1))  # the same request, sent again, is computed again
    assert hear(socket)["pointing"]["status"] == "found"
    send(socket, plain(1))
    assert hear(socket)["pointing"]["status"] == "found"
    assert len(asked) == 2


def test_again_goes_on_where_the_caller_was(start: Start, dealer: Any) -> None:
    service = start(FakePointer({"mug": [(n / 10, 0.5) for n in range(5)]}))
    socket = dealer(service)
    send(socket, plain(1), op="stream")
    whole = [hear(socket) for _ in range(6)]
    socket.send(about("again", seq=4))
    assert [hear(socket), hear(socket)] == whole[4:]
    socket.send(about("again"))
    assert [hear(socket) for _ in range(6)] == whole
    socket.send(about("again", seq=6))
    assert not socket.poll(200)


def test_a_stream_nobody_can_hear_ends(start: Start, dealer: Any) -> None:
    given = threading.Semaphore(0)
    ended = threading.Event()

    class Endless(FakePointer):
        def stream(self, image: Any, query: str, **options: Any) -> Any:
            try:
                for number in range(3000):
                    given.release()
                    time.sleep(0.005)
                    yield from FakePointer({"mug": [(number / 3000, 0.5)]}).stream(image, "mug")
            finally:
                ended.set()

    service = start(Endless())
    socket = dealer(service)
    header = {name: value for name, value in QUESTION.items() if name != "client"}
    socket.send_multipart([json.dumps({**header, "op": "stream"}).encode(), plain(1)])
    assert given.acquire(timeout=10)
    hear(socket)
    socket.close(0)
    assert ended.wait(10), "the model works for a caller that has gone"


@pytest.mark.parametrize(
    ("fields", "chosen", "computed"),
    [({}, b"", False), ({"client": "robot"}, b"", True), ({}, b"robot", True)],
)
def test_what_nobody_can_hear_is_not_computed(
    start: Start, gate: Any, fields: dict[str, str], chosen: bytes, computed: bool
) -> None:
    """A caller without a name has gone: its question is dropped where it waits. One that can come back finds its answer."""
    service = start(gate)
    context: zmq.Context[Any] = zmq.Context()
    first, gone, later = (context.socket(zmq.DEALER) for _ in range(3))
    gone.setsockopt(zmq.ROUTING_ID, chosen) if chosen else None
    for socket in (first, gone):
        socket.connect(service.zmq.address)  # type: ignore[union-attr]
    header = {name: value for name, value in QUESTION.items() if name != "client"}

    def ask(socket: Any, name: str, **more: str) -> None:
        frame = json.dumps({**header, "id": name, "op": "count", "query": name, **more}).encode()
        socket.send_multipart([frame, plain(1)])

    ask(first, "begun")
    assert gate.entered.acquire(timeout=10)
    ask(gone, "waiting", **fields)
    while len(service.dispatcher._queue) < 1:
        time.sleep(0.01)
    gone.close(0)
    later.connect(service.zmq.address)  # type: ignore[union-attr]
    if computed:
        ask(later, "later")
    else:  # before the model is free again
        end = time.monotonic() + 10
        while len(service.dispatcher._queue) and time.monotonic() < end:
            time.sleep(0.01)
        assert not len(service.dispatcher._queue)
        ask(later, "later")  # over a connection that may have the same descriptor
    gate.open_.set()
    assert hear(first)["type"] == "pointing"
    assert hear(later)["type"] == "pointing"
    queries = [query for _, query in gate.calls]
    assert queries == ["begun", *(["waiting"] if computed else []), "later"]
    context.destroy(0)


def test_a_stopping_server_answers_what_it_began_and_has_the_rest_asked_again(
    start: Start, dealer: Any, gate: Any
) -> None:
    service = start(gate)
    socket = dealer(service)
    send(socket, plain(1), id="begun", op="count")
    assert gate.entered.acquire(timeout=10)
    send(socket, plain(2), id="waiting", op="count")
    while not len(service.dispatcher._queue):
        time.sleep(0.01)
    stopping = threading.Thread(target=service.stop)
    stopping.start()
    told = hear(socket)
    assert (told["id"], told["error"]["kind"]) == ("waiting", "unknown_request")
    send(socket, plain(2), id="waiting", op="count")  # as wire.md says; this server is silent now
    assert not socket.poll(200)
    gate.open_.set()
    assert hear(socket)["id"] == "begun"
    stopping.join(20)
    assert not stopping.is_alive()
    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith(("molmo-", "watch-"))}


SERVER = """
import sys
from molmo_point import serve
from molmo_point.testing import FakePointer
pointer = FakePointer(lambda image, query: [(image[..., 0].mean() / 255, 0.5)], delay_s=0.01)
print("loaded", flush=True)
sys.stdin.readline()
print("up", flush=True)
serve(pointer, zmq=sys.argv[1], http=sys.argv[2], publish="off")
"""


def test_clients_outlive_a_restart(start: Start) -> None:
    """The server is told to stop while 16 clients ask, and another one takes its place: nobody hears of it."""
    pytest.importorskip("httpx", reason="the extra 'client' is not installed")
    free = start(FakePointer(), http=True)
    assert free.zmq is not None
    assert free.http is not None
    urls = free.zmq.address, free.http.url
    free.stop()
    command = [sys.executable, "-c", SERVER, urls[0], urls[1].removeprefix("http://")]
    # Both are loaded beforehand: the time between them is that of a supervisor that keeps one ready.
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
    ]

    def begin(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"loaded\n"
        process.stdin.write(b"serve\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"up\n"

    halfway = threading.Semaphore(0)

    def ask(client: int) -> int:
        right, url = 0, urls[client % 2]
        with connect(url, connect_timeout_s=30.0, gone_after_s=60.0, timeout_s=60.0) as pointer:
            for number in range(12):
                red = 8 * client + number
                image = np.full((6, 8, 3), red, np.uint8)
                right += pointer.point(image, "mug").points[0].x == pytest.approx(red / 255)
                halfway.release()
        return right

    try:
        begin(processes[0])
        with ThreadPoolExecutor(16) as pool:
            asking = [pool.submit(ask, client) for client in range(16)]
            for _ in range(60):
                assert halfway.acquire(timeout=60)
            processes[0].send_signal(signal.SIGTERM)
            assert processes[0].wait(30) == 0
            begin(processes[1])
            assert [future.result(90) for future in asking] == [12] * 16
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            process.communicate(timeout=30)


def test_a_watched_camera_does_not_outlive_the_server(start: Start, image: Array) -> None:
    pytest.importorskip("cv2", reason="the extra 'tracking' is not installed")
    service = start(FakePointer({"mug": [(0.25, 0.5)]}, delay_s=0.05))
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    assert service.zmq is not None
    socket.connect(service.zmq.address)
    socket.send(about("watch", camera="front", queries=["mug"]))
    assert hear(socket)["type"] == "done"
    image = make_image_payload(image, "png")
    for number in range(5):
        frame = about("frame", id=str(number), camera="front", image={"encoding": "png"})
        socket.send_multipart([frame, bytes(image.data)])
    time.sleep(0.1)
    service.stop()
    alive = [thread.name for thread in threading.enumerate() if thread.name.startswith(("molmo-camera-", "watch-"))]  # fmt: skip
    assert alive == []
    context.destroy(0)
