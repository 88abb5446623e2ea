"""Servers of a test's own: real sockets on free ports of this machine, a fake model behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from molmo_point.images import Array
from molmo_point.pointer import Pointer
from molmo_point.points import Point
from molmo_point.service.run import ServeOptions, Service
from molmo_point.service.settings import Settings
from molmo_point.testing import FakePointer

Start = Callable[..., Service]


@pytest.fixture
def image() -> Array:
    """A picture of 80x60 pixels."""
    return np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a service over a Pointer; it is stopped after the test."""
    running: list[Service] = []

    def begin(
        pointer: Pointer | Callable[[], Pointer] | None = None,
        *,
        zmq: bool = True,
        http: bool = False,
        limits: dict[str, Any] | None = None,
        **options: Any,
    ) -> Service:
        source = pointer if pointer is not None else FakePointer({"mug": [(0.25, 0.5)]})
        load = source if callable(source) else lambda: source
        service = Service(
            load,
            ServeOptions(
                zmq="tcp://127.0.0.1:*" if zmq else None,
                publish="tcp://127.0.0.1:*" if zmq else None,
                http=("127.0.0.1", 0) if http else None,
                settings=Settings(**(limits or {})),
                **options,
            ),
        )
        running.append(service)
        service.start()
        return service

    yield begin
    for service in running:
        service.stop()


class Gate(FakePointer):
    """Answers only while it is open; says when a question has come in."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open_ = threading.Event()
        super().__init__(self._wait, texts={"hello": "good day to you"})

    def _wait(self, image: Array, query: str) -> list[Point]:
        self.entered.release()
        assert self.open_.wait(30), "the test never opened the gate"
        return [Point(x=0.5, y=0.5, label=query)]


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A Pointer that waits until the test lets it answer."""
    pointer = Gate()
    yield pointer
    pointer.open_.set()
