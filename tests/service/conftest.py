"""Servers of a test's own: real sockets on free ports of this machine, a fake model behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molmo_point.images import Array
from molmo_point.pointer import Pointer
from molmo_point.points import Point
from molmo_point.service.run import ServeOptions, Service
from molmo_point.service.settings import Settings
from molmo_point.testing import FakePointer
from tests.service import page_driver

Start = Callable[..., Service]


@pytest.fixture
def image() -> Array:
    """An image of 80x60 pixels."""
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if page_driver.CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=page_driver.CHROMIUM, args=page_driver.FLAGS
        )
        yield launched
        launched.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "dispatcher.jpg"
    colours = np.random.default_rng(0).integers(60, 220, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(colours).resize((800, 600), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def visit(browser: Any, start: Start) -> Iterator[page_driver.Visit]:
    """Open the page; it must load nothing from elsewhere and throw nothing."""
    contexts: list[Any] = []
    problems: list[str] = []
    hosts: set[str] = set()

    def begin(model: FakePointer | None = None, *, tokens: Any = (), **options: Any) -> Any:
        service = start(model or page_driver.pointer(), zmq=False, http=True, tokens=tokens)
        assert service.http is not None
        options.setdefault("permissions", ["clipboard-read", "clipboard-write", "camera"])
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2] or request.url[:5]))
        page.goto(service.http.url + "/")
        page.service = service
        page.set_default_timeout(60_000)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert problems == []
    assert {host for host in hosts if not host.startswith("127.0.0.1") and host} <= {"blob:"}
