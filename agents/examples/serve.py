"""Serve the example pages on loopback: `python serve.py` and open http://127.0.0.1:8000/login.html."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parent / "pages"


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def pages(port: int = 0) -> Iterator[str]:
    """Serve while the block runs; gives the address."""
    handler = functools.partial(Handler, directory=str(PAGES))
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    ).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    with pages(int(sys.argv[1]) if len(sys.argv) > 1 else 8000) as address:
        print(f"{address}/login.html  (Enter ends)")
        input()
