"""What requests can make a server hold: each bomb compared with the bound that docs/service.md states, in a small server."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zmq

from molmo_point.service.settings import Settings

httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")

MEGABYTE = 1024 * 1024
LIMITS = {
    "max_message_bytes": 4 * MEGABYTE,
    "max_queue_bytes": 32 * MEGABYTE,
    "max_pixels": 3_000_000,
    "decode_ahead": 4_500_000,
    "memory_bytes": 2 * MEGABYTE,
}

SERVER = """
import json, sys
import molmo_point as mp
from molmo_point.images import load_image
class Slow:
    def point(self, image, query, **options):
        import time
        load_image(image); time.sleep(0.05)
        return mp.Pointing(query=query, status=mp.Status.NOT_FOUND, image_size=(1, 1))
limits = json.loads(sys.argv[1])
with mp.serve(Slow(), zmq="tcp://127.0.0.1:*", http="127.0.0.1:0", publish="off", block=False, **limits) as server:
    print(server.zmq.address, server.http.url, flush=True)
    sys.stdin.read()
"""


class Watched:
    """A server in a process of its own, and what it holds."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", SERVER, json.dumps(LIMITS)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.zmq, self.http = self.process.stdout.readline().decode().split()

    def megabytes(self, name: str = "VmHWM") -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024


@pytest.fixture(scope="module")
def server() -> Iterator[Watched]:
    if not Path("/proc/self/status").exists():
        pytest.skip("memory of a process is read from /proc")
    watched = Watched()
    image = {"image": flat_png(8, 6)}
    httpx.post(f"{watched.http}/v1/point", data={"query": "a"}, files=image, timeout=60)
    yield watched
    watched.process.communicate(timeout=30)


def flat_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes((3 * width + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def large_bmp() -> bytes:
    return (
        b"BM"
        + bytes(8)
        + struct.pack("<IIiiHH", 54, 40, 1100, 1100, 1, 24)
        + bytes(24 + 3 * 1100 * 1100)
    )


def at_once(count: int, ask: Any) -> None:
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(ask, range(count)))


def multipart(server: Watched) -> None:
    data = large_bmp()
    at_once(
        24,
        lambda n: httpx.post(
            f"{server.http}/v1/point", data={"query": f"q{n}"}, files={"image": data}, timeout=60
        ),
    )


def in_base64(server: Watched) -> None:
    text = base64.b64encode(large_bmp()).decode()
    at_once(
        16,
        lambda n: httpx.post(
            f"{server.http}/v1/point", json={"query": f"q{n}", "image": text}, timeout=60
        ),
    )


def wide_text(server: Watched) -> None:
    body = json.dumps({"query": "a", "image": "A" * 5_000_000 + "🙂"}, ensure_ascii=False).encode()
    kind = {"Content-Type": "application/json"}
    at_once(
        8, lambda n: httpx.post(f"{server.http}/v1/point", content=body, headers=kind, timeout=60)
    )


def many_values(server: Watched) -> None:
    body = b"[" + b"{}," * 1_900_000 + b"{}]"
    kind = {"Content-Type": "application/json"}
    at_once(
        4, lambda n: httpx.post(f"{server.http}/v1/query", content=body, headers=kind, timeout=60)
    )


def flat_images(server: Watched) -> None:
    data = flat_png(2000, 1500)
    at_once(
        8,
        lambda n: httpx.post(
            f"{server.http}/v1/count", data={"query": f"q{n}"}, files={"image": data}, timeout=60
        ),
    )


def over_zmq(server: Watched) -> None:
    context: zmq.Context[Any] = zmq.Context()
    data = large_bmp()

    def ask(number: int) -> None:
        peer = context.socket(zmq.DEALER)
        peer.linger = 0
        peer.connect(server.zmq)
        for turn in range(4):
            header = {
                "v": 1,
                "id": str(turn),
                "op": "point",
                "query": "q",
                "timeout_s": 5,
                "image": {"encoding": "bmp"},
            }
            peer.send_multipart([json.dumps(header).encode(), data], copy=False)
        for _ in range(4):
            peer.poll(5000)
        peer.close(0)

    at_once(8, ask)
    context.destroy(0)


def many_frames(server: Watched) -> None:
    context: zmq.Context[Any] = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.connect(server.zmq)
    peer.send_multipart([b"x"] * 50_000)
    assert peer.poll(10_000)
    assert json.loads(peer.recv())["error"]["kind"] == "protocol"
    context.destroy(0)


def headers(server: Watched) -> None:
    endless = {f"X-{n}": "y" * 4000 for n in range(500)}
    try:
        response = httpx.get(f"{server.http}/healthz", headers=endless, timeout=30)
        assert response.status_code in (400, 431)
    except httpx.TransportError:
        pass


@pytest.mark.parametrize(
    "bomb", [multipart, in_base64, wide_text, many_values, flat_images, over_zmq, many_frames, headers]
)  # fmt: skip
def test_no_bomb_goes_beyond_the_stated_bound(server: Watched, bomb: Any) -> None:
    idle = server.megabytes("VmRSS")
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    bomb(server)
    bound = Settings(**LIMITS).memory_bound() / MEGABYTE
    grown = server.megabytes() - idle
    assert grown <= bound, f"{grown:.0f} MB more, the bound is {bound:.0f} MB"
    good = httpx.post(
        f"{server.http}/v1/point", data={"query": "a"}, files={"image": flat_png(8, 6)}, timeout=60
    )
    assert good.json()["status"] == "not_found"
    assert threading.active_count() < 50


def test_the_bound_is_the_sum_of_its_parts() -> None:
    assert Settings().memory_bound() / MEGABYTE == pytest.approx(3425, abs=1)
