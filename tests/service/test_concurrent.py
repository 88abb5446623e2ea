"""A Pointer that says how many questions it answers at once is asked in as many threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.errors import PointError, ServiceError
from molmo_point.testing import FakePointer

AT_ONCE = 4
IMAGE = np.zeros((20, 30, 3), np.uint8)


class Elsewhere(FakePointer):
    """Answers when `AT_ONCE` questions are under way together."""

    concurrency = AT_ONCE

    def __init__(self) -> None:
        super().__init__()
        self.together = threading.Barrier(AT_ONCE)
        self.broken = False

    def point(self, image: Any, query: str, **options: Any) -> mp.Pointing:
        if query == "broken":
            raise ValueError("a fault of the user's own class")
        if query == "slow":
            time.sleep(5)
        if query == "together":
            self.together.wait(timeout=20)
        return super().point(image, query, **options)


@pytest.fixture
def pointer() -> Elsewhere:
    return Elsewhere()


def served(pointer: Elsewhere) -> Any:
    return mp.serve(pointer, zmq="tcp://127.0.0.1:*", publish="off", http=None, block=False)


def test_questions_are_asked_at_once(pointer: Elsewhere) -> None:
    with (
        served(pointer) as service,
        mp.connect(service.zmq.address) as remote,
        ThreadPoolExecutor(2 * AT_ONCE) as pool,
    ):
        asked = [pool.submit(remote.point, IMAGE, "together") for _ in range(2 * AT_ONCE)]
        assert all(answer.result(timeout=60).image_size == (30, 20) for answer in asked)


def test_one_failure_is_that_question_s(pointer: Elsewhere) -> None:
    with served(pointer) as service, mp.connect(service.zmq.address) as remote:
        with pytest.raises(ServiceError, match="the server failed while answering"):
            remote.point(IMAGE, "broken")
        assert remote.point(IMAGE, "mug").image_size == (30, 20)


def test_opened_images_are_shared_by_the_threads(pointer: Elsewhere) -> None:
    with served(pointer) as service, mp.connect(service.zmq.address) as remote:
        with remote.open(IMAGE) as view, ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(view.point, ["mug"] * 8))
        assert len(answers) == 8


def test_stopping_does_not_wait_for_a_question_for_ever(
    pointer: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molmo_point.service.worker.SHUTDOWN_GRACE_S", 0.2)
    service = served(pointer)
    with (
        mp.connect(service.zmq.address, gone_after_s=1.0) as remote,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(remote.point, IMAGE, "slow", timeout_s=2)
        time.sleep(0.5)
        service.stop()
        with pytest.raises(PointError):
            asked.result(timeout=20)
