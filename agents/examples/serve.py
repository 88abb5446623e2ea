"""Serve the example pages on loopback: `python serve.py` and open http://127.0.0.1:8000/login.html."""

from __future__ import annotations

import functools
import sys
import threading
from contextlib import AbstractContextManager
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

from molmo_agents.browser.loopback import serving

PAGES = Path(__file__).parent / "pages"


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def pages(port: int = 0) -> AbstractContextManager[str]:
    """Serve while the block runs; gives the address."""
    return serving(functools.partial(Handler, directory=str(PAGES)), port)


if __name__ == "__main__":
    with pages(int(sys.argv[1]) if len(sys.argv) > 1 else 8000) as address:
        print(f"{address}/login.html  (Enter ends)")
        try:
            input()
        except EOFError:
            # No terminal: until the process is ended.
            threading.Event().wait()
