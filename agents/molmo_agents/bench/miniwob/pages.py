"""Serve the MiniWoB++ pages that the `miniwob` wheel carries; neither Selenium nor its own package code is needed."""

from __future__ import annotations

import functools
import importlib.util
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from molmo_agents.browser.loopback import origin_of, start
from molmo_point.closing import Closing
from molmo_point.install import missing


def pages_folder() -> Path:
    """Return the folder of the pages.

    Raises:
        MissingExtra: The wheel is not installed.
    """
    # Found, not imported: importing the package wants Selenium.
    spec = importlib.util.find_spec("miniwob")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place) / "html"
        if (folder / "miniwob" / "click-test.html").is_file():
            return folder
    raise missing("miniwob", "agents", "the MiniWoB++ benchmark")


class _Handler(SimpleHTTPRequestHandler):
    # The pages name no charset; a browser would guess wrongly.
    extensions_map = {  # noqa: RUF012  (the base class has it as a plain dict)
        **SimpleHTTPRequestHandler.extensions_map,
        ".html": "text/html; charset=utf-8",
    }

    def log_message(self, *_: object) -> None:
        pass


class MiniwobPages(Closing):
    """A server of the pages on a free loopback port; use it in a `with` block."""

    def __init__(self) -> None:
        handler = functools.partial(_Handler, directory=str(pages_folder()))
        self._server = start(handler)

    @property
    def origin(self) -> str:
        """Where it serves."""
        return origin_of(self._server)

    def url(self, task: str) -> str:
        """Return the address of a task's page."""
        return f"{self.origin}/miniwob/{task}.html"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
