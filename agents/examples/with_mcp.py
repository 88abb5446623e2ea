"""Talk to `molmo-web mcp` as an MCP client does: python agents/examples/with_mcp.py [--model nano] [--server-python PATH]

The server is a process of its own with a browser of its own. Tools take descriptions; what comes back says what happened. The
order is not placed: nobody said yes. `--server-python` runs the server with another environment's Python, so with the SDK's other
major version.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from serve import pages

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_MODEL = ["--at", "0.5,0.5"]
"""Whatever the words, this point: it lies on the one button of confirm.html, which fills the window."""


async def talk(address: str, python: str, pointer: list[str]) -> list[str]:
    server = StdioServerParameters(
        command=python,
        args=["-m", "molmo_agents", "mcp", "--allow-origin", address, *pointer],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "agents")])},
    )
    lines: list[str] = []
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        lines.append("tools: " + ", ".join(tool.name for tool in tools))
        for name, arguments in (
            ("open_page", {"url": f"{address}/confirm.html"}),
            ("look", {}),
            ("point", {"description": "the Next button"}),
            ("click", {"description": "the Next button", "expected_name": "Next"}),
            ("click", {"description": "the Place order button"}),
            ("open_page", {"url": "https://example.com/"}),
        ):
            reply = await asyncio.wait_for(session.call_tool(name, arguments), 90)
            plain = reply.model_dump(mode="json", by_alias=True)
            answer = plain.get("structuredContent") or {}
            seen = ", ".join(part["type"] for part in plain["content"])
            status = f"{answer['status']} {answer['page_element']}" if answer else seen
            said = " ".join([name, *arguments.values()])
            lines.append(f"{said}: {status}".rstrip().replace(address, ""))
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="", help="nano, a model name or folder, or a server")
    parser.add_argument("--server-python", default=sys.executable)
    options = parser.parse_args()
    pointer = ["--model", options.model] if options.model else WITHOUT_MODEL
    with pages() as address:
        lines = asyncio.run(talk(address, options.server_python, pointer))
    print(*lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
