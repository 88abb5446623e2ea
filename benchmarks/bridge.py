"""Overhead of the ZeroMQ bridge: a question about a 1920x1080 JPEG to a pointer that answers at once, compared with an echo.

    python benchmarks/bridge.py [--rounds 2000]

Both servers run in processes of their own on this machine; the rounds alternate, so that both see the same load. The echo is the
minimum for pyzmq: a ROUTER sends the same frames back, without checks or deadlines; the image is sent twice. Prints a table on
stdout.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection

import numpy as np
import zmq

from molmo_point.client.zmq_client import ZmqPointer
from molmo_point.image_like import ImageLike
from molmo_point.points import Point, Pointing, Status
from molmo_point.service.dispatcher import Dispatcher
from molmo_point.service.zmq.server import ZmqServer
from molmo_point.testing import FakePointer
from molmo_point.wire import make_image_payload

SIZE = (1920, 1080)


class InstantPointer(FakePointer):
    """Answers without looking: decoding a JPEG is the model's cost, not the bridge's."""

    def point(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        point = Point(x=0.5, y=0.5, label=query, score=0.9, covariance=(1e-4, 0.0, 1e-4))
        return Pointing(
            query=query, points=(point,), status=Status.FOUND, image_size=SIZE, model=self.model
        )


def serve_points(ready: Connection) -> None:
    """Run our server until the pipe says otherwise."""
    dispatcher = Dispatcher(InstantPointer)
    server = ZmqServer(dispatcher, "tcp://127.0.0.1:*")
    dispatcher.start()
    server.start()
    ready.send(server.address)
    ready.recv()
    server.stop()
    dispatcher.stop()


def serve_echo(ready: Connection) -> None:
    """Run the echo until the pipe says otherwise."""
    router = zmq.Context.instance().socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    ready.send(f"tcp://127.0.0.1:{port}")
    while not ready.poll():
        if router.poll(100):
            router.send_multipart(router.recv_multipart(copy=False), copy=False)
    router.close(0)


def photo() -> bytes:
    """Return a 1920x1080 JPEG as our client encodes a camera's frame (quality 95): blocks of colour under fine noise."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 255, (135, 240, 3)), np.ones((8, 8, 1)))
    noise = rng.integers(0, 12, (SIZE[1], SIZE[0], 3))
    frame = np.clip(blocks + noise, 0, 255).astype(np.uint8)
    return bytes(make_image_payload(frame, "jpeg").data)


def row(name: str, seconds: list[float]) -> str:
    """Return one line of the table, in milliseconds."""
    ordered = sorted(seconds)
    p95 = ordered[int(0.95 * len(ordered))]
    return f"| {name:<24} | {statistics.median(ordered) * 1e3:9.3f} | {p95 * 1e3:6.3f} | {ordered[0] * 1e3:6.3f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2000, help="Questions of each kind.")
    rounds: int = parser.parse_args().rounds
    context = multiprocessing.get_context("spawn")
    pipes, processes, addresses = [], [], []
    for target in (serve_echo, serve_points):
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(theirs,), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
        addresses.append(ours.recv())
    data = photo()
    echo = zmq.Context.instance().socket(zmq.DEALER)
    echo.connect(addresses[0])
    pointer = ZmqPointer(addresses[1])
    echo_s: list[float] = []
    bridge_s: list[float] = []
    for turn in range(rounds + 50):
        began = time.perf_counter()
        echo.send_multipart([b"header", data], copy=False)
        echo.recv_multipart(copy=False)
        between = time.perf_counter()
        pointer.point(data, "mug")
        ended = time.perf_counter()
        if turn >= 50:  # the first ones open connections and warm caches
            echo_s.append(between - began)
            bridge_s.append(ended - between)
    ratio = statistics.median(bridge_s) / statistics.median(echo_s)
    print(f"{len(data):,} bytes of JPEG, {rounds} rounds, loopback, one client\n")
    print("|                          | median ms | p95 ms | min ms |")
    print("|--------------------------|-----------|--------|--------|")
    print(row("bare pyzmq echo", echo_s))
    print(row("molmo-point over ZeroMQ", bridge_s))
    print(f"\nratio of the medians: {ratio:.2f}")
    pointer.close()
    echo.close(0)
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send("stop")
        process.join(10)


if __name__ == "__main__":
    main()
