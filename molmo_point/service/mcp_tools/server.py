"""The tools on the official MCP SDK, both its major versions; over stdio, and over HTTP on a loopback port."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from anyio import to_thread
from pydantic import BaseModel, Field

from molmo_point.errors import PointError
from molmo_point.install import import_failure
from molmo_point.pointer import Pointer
from molmo_point.points import Pointing, Text
from molmo_point.service.mcp_tools.allowed_images import AllowedImages

INSTRUCTIONS = (
    "Find things in an image by description. point gives pixels of that image, origin top left: hand them to a tool that clicks "
    "coordinates, such as browser_mouse_click_xy of Playwright MCP or click_at of Chrome DevTools MCP. A screenshot must have "
    "been taken at scale 1 (CSS pixels); else divide by its scale. Status not_found means that nothing there fits: do not click."
)

IMAGE = "a path in an allowed folder, a data: URL, or the file in base64"


class Place(BaseModel):
    """One point: the pixel it lies in, its score from 0 to 1 (null where it is unknown), and what the model calls it."""

    x: int
    y: int
    score: float | None = None
    label: str = ""


class Found(BaseModel):
    """Points in pixels of the image.

    Attributes:
        status: found; not_found: nothing there fits; truncated: there may be more; malformed: the model's answer was unreadable.
        absent_probability: Probability that nothing there fits; null where it is unknown.
        in_domain: Probability that the model knows images like this one; null where that is unknown. Below 0.5 most points are
            wrong.
    """

    status: str
    count: int
    points: list[Place]
    image_width: int = Field(description="Pixels")
    image_height: int = Field(description="Pixels")
    absent_probability: float | None = None
    in_domain: float | None = None
    model: str = ""

    @classmethod
    def of(cls, pointing: Pointing) -> Found:
        """Return an answer in pixels."""
        width, height = pointing.image_size
        places = []
        for point in pointing.points:
            x, y = point.pixel(width, height)
            pixel = {"x": min(int(x), width - 1), "y": min(int(y), height - 1)}
            places.append(Place(**pixel, score=point.score, label=point.label))
        return cls(
            status=str(pointing.status),
            count=pointing.count,
            points=places,
            image_width=width,
            image_height=height,
            absent_probability=pointing.absent_probability,
            in_domain=pointing.in_domain,
            model=pointing.model,
        )


class Answered(BaseModel):
    """A text. finish_reason: stop where it is whole; length or timeout where it is cut."""

    text: str
    finish_reason: str


class Tools:
    """The tools; each call runs in a thread, one at a time.

    Args:
        pointer: Answers.
        images: What may be read.
        timeout_s: Of each call, seconds.
        tool_error: The SDK's exception whose text is shown to the host.
    """

    def __init__(
        self, pointer: Pointer, images: AllowedImages, timeout_s: float, tool_error: Any
    ) -> None:
        self._pointer = pointer
        self._images = images
        self._timeout_s = timeout_s
        self._tool_error = tool_error
        self._turn = threading.Lock()

    async def point(self, image: str, query: str) -> Found:
        """Point to everything in an image that fits a description, such as "the Sign in button"; returns pixels of the image."""
        return Found.of(await self._ask(self._pointer.point, image, query))

    async def count(self, image: str, query: str) -> Found:
        """Count the things in an image that fit a description, by pointing to each; count is the number."""
        return Found.of(await self._ask(self._pointer.count, image, query))

    async def ask(self, image: str, question: str) -> Answered:
        """Answer a question about an image in text."""
        text = Text.of(await self._ask(self._pointer.ask, image, question))
        return Answered(text=str(text), finish_reason=str(text.finish_reason))

    async def _ask(self, ask: Callable[..., Any], image: str, query: str) -> Any:
        def run() -> Any:
            data = self._images.read(image)
            with self._turn:  # a Pointer in this process is for one thread at a time
                return ask(data, query, timeout_s=self._timeout_s)

        with self._mistakes():
            return await to_thread.run_sync(run, abandon_on_cancel=True)

    @contextmanager
    def _mistakes(self) -> Iterator[None]:
        """Say what went wrong to the host; the SDK says nothing of other exceptions."""
        try:
            yield
        except PointError as mistake:
            raise self._tool_error(str(mistake)) from None


def build(pointer: Pointer, images: AllowedImages, timeout_s: float, **settings: Any) -> Any:
    """Make the server with its three tools, all of them marked as read-only.

    Args:
        pointer: Answers.
        images: What may be read.
        timeout_s: Of each call, seconds.
        settings: Go to the SDK's server class.
    """
    server_class, tool_error, annotations = _sdk()
    server = server_class(
        "molmo-point", instructions=INSTRUCTIONS, log_level="WARNING", **settings
    )
    tools = Tools(pointer, images, timeout_s, tool_error)
    hints = annotations(
        readOnlyHint=True, destructiveHint=False, idempotentHint=True, openWorldHint=False
    )
    for tool in (tools.point, tools.count, tools.ask):
        description = f"{tool.__doc__} The image: {IMAGE}."
        server.tool(annotations=hints, description=description)(tool)
    return server


def serve(
    pointer: Pointer, images: AllowedImages, timeout_s: float, address: tuple[str, int] | None
) -> None:
    """Serve on stdio, or over HTTP at (host, port) under /mcp; returns when the host is gone."""
    if address is None:
        build(pointer, images, timeout_s).run(transport="stdio")
        return
    place = dict(zip(("host", "port"), address, strict=True))
    try:
        # The first major version takes the address with the server, the second with the run.
        server = build(pointer, images, timeout_s, **place)
    except TypeError:
        build(pointer, images, timeout_s).run(transport="streamable-http", **place)
        return
    server.run(transport="streamable-http")


def _sdk() -> tuple[Any, Any, Any]:
    """Return the server class, the tool error and the annotations of the SDK, whichever of its versions is installed."""
    try:
        from mcp.types import ToolAnnotations
    except ImportError as error:
        raise import_failure(error, "mcp", "mcp", "the MCP server") from error
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError

        return MCPServer, ToolError, ToolAnnotations
    except ImportError:
        # By name: type checkers see one version of the SDK only.
        first = importlib.import_module("mcp.server.fastmcp")
        errors = importlib.import_module("mcp.server.fastmcp.exceptions")
        return first.FastMCP, errors.ToolError, ToolAnnotations
