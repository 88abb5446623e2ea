"""`molmo-point mcp`: a model as tools of any MCP host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molmo_point.cli.model_options import ModelSelection, Quiet, open_pointer, with_model_options
from molmo_point.defaults import CALL_TIMEOUT_S
from molmo_point.errors import UsageError

Folders = Annotated[
    list[Path] | None,
    typer.Option("--folder", help="Folder whose images may be read; repeatable. None by default."),
]
Http = Annotated[
    str | None,
    typer.Option(
        "--http",
        help="HOST:PORT for MCP over HTTP, under /mcp, on this machine alone; default: stdio.",
    ),
]
CallTimeout = Annotated[float, typer.Option(help="Time limit of each call, in seconds.", min=0.1)]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("mcp")(mcp)


@with_model_options
def mcp(
    *,
    where: ModelSelection,
    folder: Folders = None,
    http: Http = None,
    timeout: CallTimeout = CALL_TIMEOUT_S,
    quiet: Quiet = False,
) -> None:
    """Serve the tools point, count and ask to an MCP host: over stdio, or over HTTP on this machine.

    They read images and change nothing. Answers are pixels of the image, for tools that click coordinates.

    \b
    molmo-point mcp --folder ~/screenshots
    molmo-point mcp --connect http://gpu:8000 --http 127.0.0.1:8002
    """
    from molmo_point.service.bind_check import host_port
    from molmo_point.service.mcp_tools.allowed_images import AllowedImages
    from molmo_point.service.mcp_tools.server import serve

    images = AllowedImages(folder or ())
    address = host_port(http) if http is not None else None
    if address is not None and address[0] not in LOOPBACK:
        raise UsageError(
            f"--http {http}: MCP has no keys here, so it is for this machine alone; put a proxy that checks before it"
        )
    with open_pointer(where, quiet=quiet) as pointer:
        serve(pointer, images, timeout, address)
