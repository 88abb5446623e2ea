"""`molmo-point mcp` with the official client, over stdio and HTTP; a host that hands the pixels to a browser's mouse."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from molmo_point.errors import ImageError, Refused, UsageError
from molmo_point.service.http.openapi import PIXEL
from molmo_point.service.mcp_tools.allowed_images import AllowedImages
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer
from tests.service import truth

pytest.importorskip("mcp", reason="the extra 'mcp' is not installed", exc_type=ImportError)

Start = Callable[..., Service]
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def command(start: Start, tmp_path: Path) -> list[str]:
    """The command line of a server whose pointer knows the truth, with the images of `tmp_path` allowed."""
    fake = FakePointer(truth.find, texts={"What is it?": "a red square"})
    service = start(fake, http=True)
    assert service.zmq is not None
    options = ["--connect", service.zmq.address, "--folder", str(tmp_path), "--quiet"]
    return [sys.executable, "-m", "molmo_point", "mcp", *options]


@asynccontextmanager
async def stdio_session(command: list[str]) -> Any:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    server = StdioServerParameters(command=command[0], args=command[1:], env=ENVIRONMENT)
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


@asynccontextmanager
async def http_session(url: str) -> Any:
    import mcp.client.streamable_http as transport
    from mcp import ClientSession

    connect = getattr(transport, "streamable_http_client", None) or transport.streamablehttp_client
    async with AsyncExitStack() as stack:
        read, write, *_ = await stack.enter_async_context(connect(url))
        session = await stack.enter_async_context(ClientSession(read, write))
        await session.initialize()
        yield session


async def call(session: Any, tool: str, **arguments: Any) -> Any:
    """Return the structured answer of a tool, or the text of its error."""
    reply = await asyncio.wait_for(session.call_tool(tool, arguments), 60)
    plain = reply.model_dump(mode="json", by_alias=True)
    return plain["content"][0]["text"] if plain["isError"] else plain["structuredContent"]


async def check(session: Any, item: dict[str, Any], folder: Path) -> None:
    """Ask everything that the tools can and cannot do."""
    listed = (await session.list_tools()).tools
    assert sorted(tool.name for tool in listed) == ["ask", "count", "point"]
    hints = [tool.annotations.model_dump(by_alias=True) for tool in listed]
    assert all(hint["readOnlyHint"] and not hint["destructiveHint"] for hint in hints)
    found = await call(session, "point", image=item["file"], query="the red square")
    width, height = item["size"]
    assert (found["status"], found["image_width"], found["image_height"]) == (
        "found",
        width,
        height,
    )
    best = max(found["points"], key=lambda place: place["score"])
    assert [best["x"], best["y"]] == [int(value) for value in item["truth"]]
    assert best["score"] == 0.9
    data = base64.b64encode(Path(item["file"]).read_bytes()).decode()
    name = Path(item["file"]).name
    for image in (name, f"file://{item['file']}", f"data:image/png;base64,{data}", data):
        assert await call(session, "count", image=image, query="the red square") == found
    absent = await call(session, "point", image=name, query="the blue square")
    assert (absent["status"], absent["points"], absent["count"]) == ("not_found", [], 0)
    said = await call(session, "ask", image=name, question="What is it?")
    assert said == {"text": "a red square", "finish_reason": "stop"}
    outside = folder.parent / "outside.png"
    outside.write_bytes(base64.b64decode(PIXEL))
    (folder / "link.png").symlink_to(outside)
    for image, words in (
        (str(outside), "is no file in the allowed folders"),
        ("../outside.png", "is no file in the allowed folders"),
        ("link.png", "is no file in the allowed folders"),
        ("/etc/passwd", "is no file in the allowed folders"),
        ("http://127.0.0.1/a.png", "images are not downloaded"),
        ("data:image/png;base64,AAAA", "is not an image"),
    ):
        assert words in await call(session, "point", image=image, query="the red square"), image
    assert "the query is empty" in await call(session, "point", image=name, query=" ")


def test_over_stdio(command: list[str], tmp_path: Path) -> None:
    item = truth.squares(tmp_path, 1)[0]

    async def talk() -> None:
        async with stdio_session(command) as session:
            await check(session, item, tmp_path)

    asyncio.run(talk())


@pytest.fixture
def over_http(command: list[str]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([*command, "--http", f"127.0.0.1:{port}"], env=ENVIRONMENT)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.terminate()
        server.wait(20)


def test_over_http(over_http: str, tmp_path: Path) -> None:
    item = truth.squares(tmp_path, 1)[0]

    async def talk() -> None:
        async with http_session(over_http) as session:
            await check(session, item, tmp_path)

    asyncio.run(talk())


PAGE = """<style>body{margin:0;background:gray}button{position:absolute;left:217px;top:143px;width:40px;height:24px;border:0;
background:rgb(230,20,20)}</style><button onclick="document.title='pressed'"></button>"""


@pytest.mark.browser
def test_a_host_clicks_what_the_tool_points_to(
    browser: Any, command: list[str], tmp_path: Path
) -> None:
    """As a host does with Playwright MCP: a screenshot, `point`, then a mouse click at those pixels."""
    page = browser.new_page(viewport={"width": 400, "height": 300})
    page.set_content(PAGE)
    page.screenshot(path=tmp_path / "screen.png")

    async def ask(*queries: str) -> Any:
        async with stdio_session(command) as session:
            return [await call(session, "point", image="screen.png", query=q) for q in queries]

    # In a thread of its own: Playwright's synchronous API has a running loop in this one.
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asyncio.run, ask("the blue button", "the red button"))
        absent, found = asked.result(60)
    assert absent["status"] == "not_found"
    best = max(found["points"], key=lambda place: place["score"])
    page.mouse.click(best["x"], best["y"])
    assert page.title() == "pressed"
    page.close()


def test_allowed_images(tmp_path: Path) -> None:
    inner = tmp_path / "allowed" / "deeper"
    inner.mkdir(parents=True)
    (inner / "a.png").write_bytes(base64.b64decode(PIXEL))
    images = AllowedImages([tmp_path / "allowed"])
    assert images.read("deeper/a.png") == images.read(PIXEL) == base64.b64decode(PIXEL)
    for text in ("", ".", "deeper", "a" * 5000, "a\0b", "../allowed2", str(tmp_path)):
        with pytest.raises(Refused, match="allowed folders"):
            images.read(text)
    with pytest.raises(Refused, match="allowed folders: none"):
        AllowedImages().read(str(inner / "a.png"))
    with pytest.raises(ImageError, match="base64"):
        images.read("data:image/png;base64,&")
    with pytest.raises(UsageError, match="expected a folder"):
        AllowedImages([tmp_path / "nowhere"])


@pytest.mark.parametrize("header", ["Host: evil.example", "Origin: http://evil.example"])
def test_pages_of_other_sites_get_nothing(over_http: str, header: str) -> None:
    """Also under a name that a site has bound to this machine."""
    name, _, value = header.partition(": ")
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = "application/json, text/event-stream"
    headers = {"Content-Type": "application/json", "Accept": accept, name: value}
    request = urllib.request.Request(over_http, json.dumps(asked).encode(), headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    assert refused.value.code in (403, 421)
    assert name.lower() in refused.value.read().decode().lower()


def test_http_is_for_this_machine(command: list[str]) -> None:
    done = subprocess.run(
        [*command, "--http", "0.0.0.0:0"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "for this machine alone" in done.stderr
