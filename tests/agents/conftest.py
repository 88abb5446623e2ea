"""Real servers on loopback, a real Chromium, and pointers that read the page's own ground truth."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Union

import pytest
from molmo_agents.browser.launch import Screen, context_options, find_chromium, launch
from molmo_agents.errors import BrowserMissing

Reply = tuple[int, dict[str, str], bytes]
Route = Union[str, Reply, Callable[[str], Reply]]


class Site:
    """A web server on a free loopback port: `routes` maps paths to pages, `log` holds every request as "METHOD path"."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.log: list[str] = []
        self.bodies: list[bytes] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.log.append(f"{self.command} {self.path}")
                length = int(self.headers.get("Content-Length") or 0)
                if length:
                    site.bodies.append(self.rfile.read(length))
                status, headers, body = site.reply(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def other_url(self) -> str:
        """The same server as another site: localhost is another origin than 127.0.0.1, and another process."""
        return f"http://localhost:{self.port}"

    def reply(self, path: str) -> Reply:
        route = self.routes.get(path, self.routes.get(path.split("?")[0]))
        if route is None:
            return 404, {"Content-Type": "text/plain"}, b"not here"
        if callable(route):
            return route(path)
        if isinstance(route, str):
            return 200, {"Content-Type": "text/html; charset=utf-8"}, route.encode()
        return route

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.close()


@pytest.fixture
def canary() -> Iterator[Site]:
    """A server that nothing may ever ask anything of."""
    server = Site()
    server.routes["/"] = "<p>should not be seen</p>"
    yield server
    server.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    try:
        return find_chromium()
    except BrowserMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Closed with its module: Playwright's sync face allows no second one in a thread while the first is open."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright, extra=("--site-per-process",))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(**context_options(Screen(900, 600)))
    yield context.new_page()
    context.close()
