"""Replicas of `nano` on a Ray cluster of two nodes on this machine: the answers of one process, also while a node is killed."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import molmo_point as mp
from molmo_point.errors import PointError, ServiceError, UsageError

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "ray[serve]"')
serve = pytest.importorskip("ray.serve")

from ray.cluster_utils import Cluster  # noqa: E402

from molmo_point.cluster.pointer import ClusterOptions, RayPointer  # noqa: E402
from molmo_point.cluster.replica import Load  # noqa: E402

pytestmark = pytest.mark.timeout(600)
NANO = Load("nano", {"device": "cpu", "dtype": "float32"})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
    cluster.add_node(num_cpus=3)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def pointer(cluster: Cluster) -> Iterator[RayPointer]:
    options = ClusterOptions(cluster.address, (2, 2), cpus=1.5, load=NANO)
    with RayPointer(options) as pointer:
        yield pointer


@pytest.fixture(scope="module")
def local() -> Iterator[mp.Pointer]:
    with mp.load("nano", device="cpu", dtype="float32") as pointer:
        yield pointer


def images(number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(number):
        image = np.full((240, 320, 3), 235, np.uint8)
        for x, y in rng.integers(0, 190, (3, 2)):
            image[y : y + 40, x : x + 40] = rng.integers(0, 255, 3)
        found.append(image)
    return found


def places(points: mp.Pointing | Iterable[mp.Point]) -> list[tuple[float, float]]:
    return [(p.x, p.y) for p in (points.points if isinstance(points, mp.Pointing) else points)]


def replicas() -> list[str]:
    """Return the names of the replicas that run."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return [actor["name"] for actor in named if "SERVE_REPLICA" in actor["name"]]


def kill(replica: str) -> None:
    ray.kill(ray.get_actor(replica, namespace="serve"))


def test_answers_are_those_of_one_process(pointer: RayPointer, local: mp.Pointer) -> None:
    asked = [(image, query) for image in images(4) for query in ("square", "cat")]
    for answer, (image, query) in zip(pointer.point_many(asked), asked, strict=True):
        expected = local.point(image, query)
        assert answer.status == expected.status
        assert places(answer) == places(expected)
    image = images(1)[0]
    assert pointer.count(image, "square").count == local.count(image, "square").count
    assert places(pointer.stream(image, "square")) == places(local.point(image, "square"))


def test_what_is_wrong_with_a_question_is_told_as_by_a_model_here(pointer: RayPointer) -> None:
    with pytest.raises(mp.errors.ImageError):
        pointer.point(b"no image", "cat")
    with pytest.raises(mp.errors.QueryError):
        pointer.point(images(1)[0], "")


def test_an_opened_image_is_opened_again_when_its_replica_dies(pointer: RayPointer) -> None:
    image = images(2)[1]
    with pointer.open(image) as view:
        before = places(view.point("square"))
        for replica in replicas():
            kill(replica)
            assert places(view.point("square")) == before
        # Of each image that was opened the last handle is known, not those of replicas that died.
        assert len(pointer._transport._opened) == 1
    assert not pointer._transport._opened


def test_a_replica_that_dies_under_many_clients_loses_and_doubles_nothing(
    pointer: RayPointer, local: mp.Pointer
) -> None:
    image = images(3)[2]
    expected = places(local.point(image, "square"))
    answered: list[object] = []

    def client() -> None:
        for _ in range(4):
            try:
                answered.append(places(pointer.stream(image, "square", timeout_s=120)))
            except PointError as error:
                answered.append(error)

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    while len(answered) < 8:
        time.sleep(0.05)
    kill(replicas()[0])
    for thread in threads:
        thread.join(300)
    assert len(answered) == 64
    assert all(isinstance(one, ServiceError) or one == expected for one in answered)
    assert sum(one == expected for one in answered) >= 56


def test_the_doors_ask_several_replicas_at_once(pointer: RayPointer) -> None:
    with mp.serve(
        pointer, zmq="tcp://127.0.0.1:*", publish="off", http=None, block=False
    ) as service:
        assert service.zmq is not None
        with mp.connect(service.zmq.address) as remote, ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda image: remote.point(image, "square"), images(6)))
            with remote.open(images(1)[0]) as view:
                assert places(view.point("square")) == places(found[0])
    assert all(answer.status in (mp.Status.FOUND, mp.Status.NOT_FOUND) for answer in found)


def test_a_node_that_dies_in_a_run_changes_no_row(
    cluster: Cluster, pointer: RayPointer, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, image in enumerate(images(40)):
        Image.fromarray(image).save(photos / f"{number:02}.png")

    def start(out: Path, *options: str) -> subprocess.Popen[bytes]:
        words = [
            "count",
            str(photos),
            "square",
            "--dtype",
            "float32",
            "--device",
            "cpu",
            "--no-drawings",
            "--quiet",
        ]
        command = [sys.executable, "-m", "molmo_point", *words, "--out", str(out), *options]
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def rows(out: Path) -> list[tuple[str, str, str]]:
        with open(out / "counts.csv", newline="", encoding="utf-8") as file:
            return [(row["file"], row["count"], row["status"]) for row in csv.DictReader(file)]

    spare = cluster.add_node(num_cpus=2)
    run = start(tmp_path / "ray", "--ray", cluster.address, "--replicas", "2")
    answers = tmp_path / "ray" / "points.jsonl"
    until = time.monotonic() + 240
    while not (answers.exists() and answers.read_bytes().count(b"\n") >= 5):
        assert run.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    cluster.remove_node(spare, allow_graceful=False)
    assert run.wait(300) == 0, run.stderr.read()[-2000:] if run.stderr else ""
    assert start(tmp_path / "one").wait(300) == 0
    assert rows(tmp_path / "ray") == rows(tmp_path / "one")
    assert len(rows(tmp_path / "ray")) == 40


def test_nobody_at_the_address(tmp_path: Path) -> None:
    Image.fromarray(images(1)[0]).save(tmp_path / "x.png")
    words = ["count", str(tmp_path / "x.png"), "cat", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "molmo_point", *words, "--ray", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1
    assert "no Ray cluster answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("replicas", [(0, 1), (2, 1)])
def test_replicas_that_are_none(replicas: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="1 <= fewest <= most"):
        ClusterOptions(replicas=replicas)
