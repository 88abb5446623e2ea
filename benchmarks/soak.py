"""Soak tests of a server with a fake model in a process of its own: invalid messages, kills and restarts, steady load.

    python benchmarks/soak.py mutate  [--messages 200000]
    python benchmarks/soak.py restart [--clients 32 --requests 200 --kills 3]
    python benchmarks/soak.py steady  [--minutes 20]

Each prints its result as one JSON object on stdout and exits with 1 where a guarantee was broken.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import zmq
from PIL import Image

from molmo_point.client.zmq_client import ZmqPointer
from molmo_point.errors import PointError
from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.service.run import ServeOptions, Service
from molmo_point.service.settings import Settings
from molmo_point.testing import FakePointer
from molmo_point.wire import ImageHeader, Op, Request, encode_request

Frames = list[bytes]
MODULUS = 9973
"""The fake model answers question n with x = (n mod 9973) / 9973: a mixed-up answer shows."""


def where(array: Array, query: str) -> list[Point]:
    """Answer a numbered question with a place that only this number has."""
    number = int(query) % MODULUS if query.isdigit() else 0
    return [Point(x=number / MODULUS, y=0.5, label=query)]


class Forgetful(list[tuple[str, str]]):
    """Keeps nothing: a fake that remembers every question would be the leak that is looked for."""

    def append(self, item: tuple[str, str]) -> None:
        return


def fake(delay_s: float) -> FakePointer:
    """Return the model behind the server."""
    pointer = FakePointer(where, delay_s=delay_s)
    pointer.calls = Forgetful()
    return pointer


def _stop_without(parent: int, stop: threading.Event) -> None:
    """Stop when the process that started this one is gone: a server must not be left behind."""
    while os.getppid() == parent:
        time.sleep(1.0)
    stop.set()


def serve(port: int, delay_s: float) -> None:
    """Run a server until SIGTERM; this is the process that is killed."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_stop_without, args=(os.getppid(), stop), daemon=True).start()
    options = ServeOptions(
        zmq=f"tcp://127.0.0.1:{port}",
        publish=None,
        http=None,
        # Few answers and images are kept, so that all room for them is taken before memory is measured first: what grows then
        # is a leak.
        settings=Settings(
            capacity=256,
            max_message_bytes=8 * 1024 * 1024,
            memory_answers=128,
            memory_image_bytes=1024 * 1024,
        ),
    )
    with Service(lambda: fake(delay_s), options) as service:
        print("ready", flush=True)
        service.run(stop)


class Server:
    """The server's process: started, watched, killed and started again on the same port."""

    def __init__(self, delay_s: float = 0.0) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"tcp://127.0.0.1:{self.port}"
        self._delay_s = delay_s
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "serve", str(self.port), str(self._delay_s)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit("the server did not start")
        return process

    def kill(self) -> None:
        """End it as a power cut would, and start it again."""
        self._process.kill()
        self._process.wait(30)
        self._process = self._start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def resident_bytes(self) -> int:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * 4096

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()


def png(seed: int = 0) -> bytes:
    """Return a small image file."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def good_message(rng: random.Random) -> Frames:
    """Return a well-formed question, to be spoilt."""
    image = png()
    request = Request(
        id=str(rng.randrange(10**9)),
        op=rng.choice([Op.POINT, Op.COUNT, Op.ASK, Op.STREAM, Op.OPEN, Op.FRAME]),
        query="7",
        timeout_s=2.0,
        camera=rng.choice([None, "front"]),
        image=ImageHeader(encoding="png"),
    )
    return [bytes(frame) for frame in encode_request(request, image)]


def _cut(rng: random.Random, frames: Frames) -> Frames:
    which = rng.randrange(len(frames))
    frames[which] = frames[which][: rng.randrange(len(frames[which]))]
    return frames


def _flip(rng: random.Random, frames: Frames) -> Frames:
    which = rng.randrange(len(frames))
    data = bytearray(frames[which])
    for _ in range(rng.randrange(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    frames[which] = bytes(data)
    return frames


def _header(change: Callable[[random.Random, dict[str, object]], None]) -> Mutation:
    def mutate(rng: random.Random, frames: Frames) -> Frames:
        header = json.loads(frames[0])
        change(rng, header)
        frames[0] = json.dumps(header).encode()
        return frames

    return mutate


def _field(rng: random.Random, header: dict[str, object]) -> None:
    odd = [None, -1, 0, 10**300, 1e308, "", "x" * 5000, [], {}, True, "\ud800", [[[]]], 2**63]
    header[rng.choice(["v", "id", "op", "query", "timeout_s", "camera", "image", "stamp_ns"])] = (
        rng.choice(odd)
    )


def _sizes(rng: random.Random, header: dict[str, object]) -> None:
    sides = [0, 1, 7, 10**6, 10**9, -5, 2**62]
    shape = [rng.choice(sides) for _ in range(rng.randrange(4))] + [3]
    header["image"] = {"encoding": "raw", "shape": shape, "dtype": "uint8"}


def _png_size(rng: random.Random, frames: Frames) -> Frames:
    data = bytearray(frames[1])
    data[16:24] = rng.randbytes(8)
    frames[1] = bytes(data)
    return frames


Mutation = Callable[[random.Random, Frames], Frames]
MUTATIONS: dict[str, Mutation] = {
    "cut": _cut,
    "flipped bytes": _flip,
    "swapped frames": lambda rng, frames: frames[::-1],
    "wrong version": _header(
        lambda rng, h: h.update(v=rng.choice([0, 2, -1, 99, "1", 1.5, None]))
    ),
    "wrong field": _header(_field),
    "wrong sizes": _header(_sizes),
    "huge image": _png_size,
    "not UTF-8": lambda rng, frames: [b'{"v":1,"id":"\xff\xfe\xc0"}', *frames[1:]],
    "deep JSON": lambda rng, frames: [
        b'{"v":1,"a":' + b"[" * rng.randrange(1, 30_000),
        *frames[1:],
    ],
    "too many frames": lambda rng, frames: frames * rng.randrange(2, 20),
    "no frames": lambda rng, frames: [b""],
    "large header": lambda rng, frames: [b" " * 200_000, *frames[1:]],
    "too large": lambda rng, frames: (
        [frames[0], bytes(9 * 1024 * 1024)] if rng.random() < 0.02 else [frames[0], b""]
    ),
    "noise": lambda rng, frames: [rng.randbytes(rng.randrange(1, 300)) for _ in range(2)],
}


def mutate(messages: int, seed: int = 0) -> dict[str, object]:
    """Send spoilt messages, and good questions in between that must be answered."""
    rng = random.Random(seed)
    server = Server()
    pointer = ZmqPointer(server.url)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    names = list(MUTATIONS)
    answered, wrong, replies, start = 0, 0, 0, 0
    dealer = None
    for turn in range(messages):
        if turn % 5_000 == 0:  # a new peer now and then, as in life
            if dealer is not None:
                dealer.close(0)
            dealer = context.socket(zmq.DEALER)
            dealer.connect(server.url)
        if (
            turn == messages // 2
        ):  # caches are full and every thread has its memory: what grows from here on is a leak
            start = server.resident_bytes()
        assert dealer is not None
        frames = MUTATIONS[names[turn % len(names)]](rng, good_message(rng))
        dealer.send_multipart(frames)
        while dealer.poll(0):
            dealer.recv_multipart()
            replies += 1
        if turn % 200 == 0:
            pointing = pointer.point(png(), str(turn), timeout_s=20.0)
            answered += 1
            wrong += pointing.points[0].x != turn % MODULUS / MODULUS
    end = server.resident_bytes()
    info = pointer.info(timeout_s=10.0)
    result = {
        "messages": messages,
        "good questions answered": answered,
        "wrong answers": wrong,
        "replies and refusals": replies,
        "alive": server.alive and info.ready,
        "resident MB at the start": round(start / 2**20, 1),
        "resident MB at the end": round(end / 2**20, 1),
        "growth": round(end / start - 1, 4),
    }
    pointer.close()
    context.destroy(0)
    server.stop()
    result["kept"] = bool(result["alive"]) and not wrong and end <= 1.1 * start
    return result


def restart(clients: int, requests: int, kills: int) -> dict[str, object]:
    """Kill the server while many clients ask; every question must get its own answer."""
    server = Server(delay_s=0.002)
    outcomes: Counter[str] = Counter()
    done = threading.Semaphore(0)

    def ask(client: int) -> None:
        # A server that is killed comes back when its interpreter has started: on a busy machine not within ten seconds.
        pointer = ZmqPointer(server.url, timeout_s=120.0, gone_after_s=120.0)
        for number in range(requests):
            query = client * requests + number
            try:
                pointing = pointer.point(png(client), str(query))
                right = pointing.points[0].x == query % MODULUS / MODULUS
                outcomes["right" if right and pointing.query == str(query) else "mixed up"] += 1
            except PointError as error:
                outcomes[f"{type(error).__name__}: {error}"[:100]] += 1
            done.release()
        pointer.close()

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        jobs = [pool.submit(ask, client) for client in range(clients)]
        for _ in range(kills):
            for _ in range(clients * requests // (kills + 1)):
                done.acquire(timeout=60)
            server.kill()
        for job in jobs:
            job.result(600)
    seconds = time.monotonic() - began
    server.stop()
    right = outcomes["right"] == clients * requests
    return {
        "clients": clients,
        "requests": clients * requests,
        "kills": kills,
        "outcomes": dict(outcomes),
        "seconds": round(seconds, 1),
        "kept": right and len(outcomes) == 1,
    }


def steady(minutes: float) -> dict[str, object]:
    """Ask without pause from four clients, opening and closing views; memory must stay where it was at minute two."""
    server = Server(delay_s=0.001)
    until = time.monotonic() + 60 * minutes
    image = png()
    large = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    asked: Counter[str] = Counter()

    def ask(client: int) -> None:
        pointer = ZmqPointer(server.url)
        while time.monotonic() < until:
            asked["point"] += pointer.point(large, "5", stamp_ns=asked["point"]).count
            asked["stream"] += len(list(pointer.stream(image, "6")))
            with pointer.open(image) as view:
                asked["view"] += view.point("7").count
        pointer.close()

    early = 0
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(ask, client) for client in range(4)]
        settled = time.monotonic() + min(120.0, 60 * minutes / 4)
        while any(not job.done() for job in jobs):
            time.sleep(1.0)
            if not early and time.monotonic() >= settled:
                early = server.resident_bytes()
        for job in jobs:
            job.result(1)
    late = server.resident_bytes()
    server.stop()
    return {
        "minutes": minutes,
        "answers": dict(asked),
        "resident MB settled": round(early / 2**20, 1),
        "resident MB at the end": round(late / 2**20, 1),
        "growth": round(late / early - 1, 4),
        "kept": late <= 1.05 * early,
    }


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("mutate")
    one.add_argument("--messages", type=int, default=200_000)
    two = kinds.add_parser("restart")
    two.add_argument("--clients", type=int, default=32)
    two.add_argument("--requests", type=int, default=200)
    two.add_argument("--kills", type=int, default=3)
    three = kinds.add_parser("steady")
    three.add_argument("--minutes", type=float, default=20.0)
    inner = kinds.add_parser("serve")
    inner.add_argument("port", type=int)
    inner.add_argument("delay_s", type=float)
    options = vars(parser.parse_args())
    kind = options.pop("kind")
    if kind == "serve":
        serve(**options)
        return
    result = {"mutate": mutate, "restart": restart, "steady": steady}[kind](**options)
    print(json.dumps(result, indent=1))
    sys.exit(0 if result["kept"] else 1)


if __name__ == "__main__":
    main()
