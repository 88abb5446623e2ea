"""What is used of Playwright's objects, alike in its synchronous and its asynchronous face.

Methods that answer are called by name through `drivers.steps.call`: one face returns values, the other awaitables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Json = dict[str, Any]
"""A JSON object: what the protocol and our JavaScript answer."""

Listener = Callable[..., Any]
"""An event handler."""


class Emitter(Protocol):
    """Anything that has events."""

    def on(self, event: str, f: Listener) -> object: ...

    def remove_listener(self, event: str, f: Listener) -> object: ...


class CdpSession(Emitter, Protocol):
    """A DevTools session; its `send` is called through `call`."""


class PageFrame(Protocol):
    """A frame of a page."""

    @property
    def page(self) -> Page: ...

    @property
    def parent_frame(self) -> PageFrame | None: ...

    def is_detached(self) -> bool: ...


class Browser(Protocol):
    """A browser."""

    @property
    def contexts(self) -> Sequence[Context]: ...


class Context(Emitter, Protocol):
    """A browser context."""

    @property
    def pages(self) -> Sequence[Page]: ...

    @property
    def browser(self) -> Browser | None: ...


class Page(Emitter, Protocol):
    """A page."""

    @property
    def url(self) -> str: ...

    @property
    def context(self) -> Context: ...

    @property
    def frames(self) -> Sequence[PageFrame]: ...

    @property
    def main_frame(self) -> PageFrame: ...

    @property
    def mouse(self) -> object: ...

    @property
    def keyboard(self) -> object: ...

    def is_closed(self) -> bool: ...

    def wait_for_timeout(self, timeout: float) -> object: ...


class Request(Protocol):
    """A request of a page."""

    @property
    def url(self) -> str: ...

    @property
    def resource_type(self) -> str: ...

    @property
    def frame(self) -> PageFrame: ...

    def is_navigation_request(self) -> bool: ...


class Response(Protocol):
    """What a server answered to a request."""

    @property
    def request(self) -> Request: ...

    @property
    def status(self) -> int: ...


class Route(Protocol):
    """A request that waits for leave."""

    @property
    def request(self) -> Request: ...


class Socket(Protocol):
    """A WebSocket of a page that waits for leave."""

    @property
    def url(self) -> str: ...

    def connect_to_server(self) -> object: ...


class PageDialog(Protocol):
    """A dialog of a page."""

    @property
    def type(self) -> str: ...

    @property
    def message(self) -> str: ...

    @property
    def default_value(self) -> str: ...


class Download(Protocol):
    """A file that a page hands over."""

    @property
    def suggested_filename(self) -> str: ...
