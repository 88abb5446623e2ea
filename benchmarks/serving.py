"""Closed-loop clients of a server, this version and an earlier one in turn.

    python -m benchmarks.serving [--baseline COMMIT] [--model nano|mid] [--clients 1 4 8 16 32] [--images new repeated mixed]
    python -m benchmarks.serving fairness [--baseline COMMIT] [--model nano|mid]

Every client asks its next question when it has its answer, over ZeroMQ on this machine, in a stream: the first point has a
time of its own. Images of 640x480 (JPEG): `new` ones are unlike all before in every crop, `repeated` ones are eight that the
server knows, `mixed` takes either in turn. The earlier version runs from a worktree of its commit; both servers stay loaded, the
one that is not measured is idle. `mid` is a random network (vision tower of 6 blocks of 384, decoder of 8 layers of 512), whose
choices a script replaces so that it writes one point.

fairness: one polite client that asks one question at a time, alone and beside one that keeps 24 questions waiting; both with new
images.
"""

from __future__ import annotations

import argparse
import io
import itertools
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import molmo_point as mp
from benchmarks.random_checkpoint import MID, write_checkpoint
from benchmarks.report import hardware, table
from benchmarks.side import Side
from molmo_point.client import connect

ROOT = Path(__file__).parents[1]
QUERIES: tuple[str, ...] = ("burgers", "watermelon", "zebra", "sailboat")
SCRIPT = ' <point x="41.5" y="63.0" alt="mug">mug</point>'
SMALL = {
    **MID,
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 4096,
    "vocab_size": 512,
    "embedding_size": 512,
    "vision_backbone": {
        "image_default_input_size": [336, 336],
        "image_emb_dim": 384,
        "image_head_dim": 64,
        "image_mlp_activations": "quick_gelu",
        "image_mlp_dim": 1536,
        "image_norm_eps": 1e-05,
        "image_num_heads": 6,
        "image_num_key_value_heads": 6,
        "image_num_layers": 6,
        "image_num_pos": 577,
        "image_patch_size": 14,
        "image_pos_patch_size": 14,
        "resize_mode": "default",
    },
    "vit_layers": [-1, -3],
}


class Images:
    """JPEG files of a size; no two have a crop in common."""

    def __init__(self, width: int, height: int) -> None:
        self._rng = np.random.default_rng(0)
        scene = Image.open(Path(mp.__file__).parent / "nano" / "demo.png").convert("RGB")
        self._scene = np.asarray(scene.resize((width, height)))
        self.known = [self.new() for _ in range(8)]

    def new(self) -> bytes:
        """Return the scene, moved and with other noise."""
        moved = np.roll(self._scene, self._rng.integers(0, 400, 2), (0, 1)).astype(np.int16)
        moved += self._rng.integers(-6, 7, moved.shape, dtype=np.int16)
        file = io.BytesIO()
        Image.fromarray(moved.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        return file.getvalue()

    def drawn(self, kind: str, number: int) -> Iterator[bytes]:
        """Return an endless supply of a kind, of which `number` new ones are made before the clock runs."""
        known = itertools.cycle(self.known)
        new = [self.new() for _ in range(0 if kind == "repeated" else number)]
        for index in itertools.count():
            fresh = kind == "new" or (kind == "mixed" and index % 2 == 0)
            yield (new.pop() if new else self.new()) if fresh else next(known)


class Asked(NamedTuple):
    """One answer: when it was asked for and complete, and the seconds until its first point (or its end)."""

    start: float
    end: float
    first_s: float

    @property
    def seconds(self) -> float:
        """Return the time of the whole answer."""
        return self.end - self.start


class Load:
    """Closed-loop clients of one server."""

    def __init__(self, side: Side, queries: Sequence[str]) -> None:
        self._address = side.greeting
        self._queries = itertools.cycle(queries)
        self._lock = threading.Lock()

    def run(self, clients: int, images: Iterator[bytes], seconds: float) -> list[Asked]:
        """Have clients ask for some seconds, each with a connection of its own; return their answers, in order of their ends."""
        until = time.perf_counter() + seconds

        def client(_: int) -> list[Asked]:
            answers = []
            with connect(self._address, timeout_s=300) as pointer:
                while time.perf_counter() < until:
                    with self._lock:
                        image, query = next(images), next(self._queries)
                    answers.append(ask(pointer, image, query))
            return answers

        with ThreadPoolExecutor(clients) as pool:
            done = itertools.chain.from_iterable(pool.map(client, range(clients)))
            return sorted(done, key=lambda asked: asked.end)

    def flood(
        self, images: Iterator[bytes], stop: threading.Event, waiting: int = 24
    ) -> list[float]:
        """Keep questions waiting over one connection until `stop`; return when they were answered."""
        answered: list[float] = []
        with connect(self._address, timeout_s=300) as pointer, ThreadPoolExecutor(waiting) as pool:

            def again() -> None:
                while not stop.is_set():
                    with self._lock:
                        image, query = next(images), next(self._queries)
                    pointer.point(image, query)
                    answered.append(time.perf_counter())

            for future in [pool.submit(again) for _ in range(waiting)]:
                future.result()
        return answered


def ask(pointer: mp.Pointer, image: bytes, query: str) -> Asked:
    """Ask one question."""
    start = time.perf_counter()
    first = None
    for _ in pointer.stream(image, query, timeout_s=300):
        first = first or time.perf_counter()
    end = time.perf_counter()
    return Asked(start, end, (first or end) - start)


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile in ms."""
    return float(np.percentile(values, share)) * 1e3 if values else float("nan")


@contextmanager
def sides(baseline: str | None, arguments: list[str]) -> Iterator[dict[str, Side]]:
    """Start the server of this version, and of the version before; both are loaded when the block begins."""
    with ExitStack() as stack:
        folders = {"now": ROOT}
        if baseline is not None:
            where = stack.enter_context(tempfile.TemporaryDirectory()) + "/before"
            git = ["git", "-C", str(ROOT), "worktree"]
            subprocess.run([*git, "add", "--detach", where, baseline], check=True)
            stack.callback(subprocess.run, [*git, "remove", "--force", where], check=True)
            folders = {"before": Path(where), **folders}
        started = {}
        for name, folder in folders.items():
            worker = Path(__file__).with_name("serving_worker.py")
            side = Side(worker, sys.executable, arguments, PYTHONPATH=str(folder))
            stack.callback(side.process.kill)
            started[name] = side
        yield started


def throughput(
    servers: dict[str, Side],
    loads: dict[str, Load],
    images: Images,
    cases: Sequence[tuple[str, int]],
    seconds: float,
    rounds: int,
) -> None:
    """Print a table: every load on both sides in turn."""
    rows = []
    for kind, count in cases:
        rates: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, side in servers.items():
                supply = images.drawn(kind, int(30 * seconds))
                next(supply)
                side.run("reset")
                start = time.perf_counter()
                asked = loads[name].run(count, supply, seconds)
                rate = len(asked) / (time.perf_counter() - start)
                gaps, passes, peak, cpu = side.run("report")
                rates[name].append(rate)
                whole, first = [a.seconds for a in asked], [a.first_s for a in asked]
                rows.append(
                    (
                        kind,
                        count,
                        name,
                        f"{rate:.2f}",
                        f"{cpu / len(asked) * 1e3:.0f}",
                        *(f"{percentile(whole, share):.0f}" for share in (50, 99)),
                        *(f"{percentile(first, share):.0f}" for share in (50, 99)),
                        f"{percentile(gaps, 50):.0f}",
                        f"{percentile(gaps, 99):.0f}",
                        f"{max(gaps, default=0.0) * 1e3:.0f}",
                        f"{percentile(passes, 50):.1f}",
                        f"{peak / 1e6:.0f} MB",
                    )
                )
                print(*rows[-1], file=sys.stderr, flush=True)
        if len(rates) == 2:
            ratios = [now / before for before, now in zip(*rates.values(), strict=True)]
            print(f"{kind} {count}: {statistics.median(ratios):.2f}x", file=sys.stderr, flush=True)
    columns = (
        "images",
        "clients",
        "version",
        "answers/s",
        "CPU an answer",
        "answer p50",
        "p99",
        "first point p50",
        "p99",
    )
    gaps_of = ("gap p50", "p99", "longest", "pass p50", "peak memory")
    table("Closed-loop clients, times in ms", (*columns, *gaps_of), rows)


def fairness(loads: dict[str, Load], images: Images, seconds: float) -> None:
    """Print a table: a polite client alone, and beside one that floods the server."""
    rows = []
    for name, load in loads.items():
        supply = images.drawn("new", 100)
        alone = [a.seconds for a in load.run(1, supply, seconds)]
        stop = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            flood = pool.submit(load.flood, supply, stop)
            time.sleep(2.0)
            polite = load.run(1, supply, 2 * seconds)
            stop.set()
            others = flood.result()
        beside = [a.seconds for a in polite]
        meanwhile = [sum(a.start < end < a.end for end in others) for a in polite]
        numbers = [percentile(values, share) for values in (alone, beside) for share in (50, 95)]
        delay = (numbers[2] - numbers[0]) / numbers[0]
        counts = (statistics.mean(meanwhile), max(meanwhile))
        cells = (*(f"{n:.0f}" for n in numbers), f"{delay:.2f}", f"{counts[0]:.2f}", counts[1])
        rows.append((name, *cells))
    columns = ("version", "alone p50", "p95", "beside a flood p50", "p95", "delay in answers")
    columns += ("answers of the flood meanwhile, mean", "most")
    table("A polite client, times of its answers in ms", columns, rows)


def main() -> None:
    """Run the chosen part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "part", nargs="?", choices=("throughput", "fairness"), default="throughput"
    )
    parser.add_argument("--baseline", help="Commit of the version before.")
    parser.add_argument("--model", choices=("nano", "mid"), default="nano")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    kinds = ("new", "repeated", "mixed")
    parser.add_argument("--images", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), help="Of the images.")
    parser.add_argument("--seconds", type=float, default=8.0, help="Of each load.")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    # Ends the servers and removes the worktree, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    arguments, queries = ["nano"], QUERIES
    if options.model == "mid":
        folder = Path(tempfile.gettempdir()) / "molmo_point_serving"
        arguments, queries = [str(write_checkpoint(folder, SMALL)), SCRIPT], ("mug",)
    images = Images(*options.size)
    print(hardware())
    with sides(options.baseline, arguments) as servers:
        loads = {name: Load(side, queries) for name, side in servers.items()}
        for load in loads.values():
            load.run(2, images.drawn("repeated", 0), 2.0)
        if options.part == "fairness":
            fairness(loads, images, options.seconds)
        else:
            cases = list(itertools.product(options.images, options.clients))
            throughput(servers, loads, images, cases, options.seconds, options.rounds)


if __name__ == "__main__":
    main()
