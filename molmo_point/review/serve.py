"""The server of a review, on this machine only."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from molmo_point.count_runs.journal import lock_folder
from molmo_point.defaults import HTTP_HOST
from molmo_point.errors import UsageError
from molmo_point.review.app import build_app
from molmo_point.review.reviewed import Review


def serve_review(folder: Path, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page until the process is stopped.

    Args:
        port: 0 takes a free one.
        ready: Called with the page's address before the server begins to answer; connections wait until it does.

    Raises:
        UsageError: The folder holds no run, another process writes to it, or the port is in use.
    """
    review = Review(folder)
    lock_folder(folder)
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HTTP_HOST, port))
    except OSError as error:
        bound.close()
        raise UsageError(
            f"cannot listen at {HTTP_HOST}:{port}: {error.strerror}; give another with --port"
        ) from error
    bound.listen(64)
    ready(f"http://{HTTP_HOST}:{bound.getsockname()[1]}/")
    config = uvicorn.Config(
        build_app(review),
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
    )
    uvicorn.Server(config).run([bound])
