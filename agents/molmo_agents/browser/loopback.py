"""Serve pages on a loopback port, in a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def start(handler: Callable[..., BaseHTTPRequestHandler], port: int = 0) -> ThreadingHTTPServer:
    """Begin to serve; 0 takes a free port. Ends with the server's `shutdown` and `server_close`."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    ).start()
    return server


def origin_of(server: ThreadingHTTPServer) -> str:
    """Where it serves."""
    return f"http://127.0.0.1:{server.server_address[1]}"


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    """Serve while the block runs; gives the origin."""
    server = start(handler, port)
    try:
        yield origin_of(server)
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serve_html(page: Callable[[str], str | None]) -> Iterator[str]:
    """Serve while the block runs; gives the origin.

    Args:
        page: The path asked for to the page's HTML; None is answered 404.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            html = page(self.path)
            body = (html or "not here").encode()
            self.send_response(404 if html is None else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as origin:
        yield origin
