"""An MCP server whose pointer finds colours: python mcp_colours.py ORIGIN [PORT]. Words with "slow" take it 0.2 s."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from molmo_agents import Policy, Secret
from molmo_agents.browser.launch import Screen
from molmo_agents.mcp.server import serve

from molmo_point.testing import FakePointer

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0)}


def find(image: Any, query: str) -> list[tuple[float, float]]:
    """The middle of the first colour that the query names."""
    time.sleep(0.2 if "slow" in query else 0)
    for name, colour in COLOURS.items():
        rows, columns = np.nonzero((image == colour).all(axis=2))
        if name in query and len(rows):
            return [
                ((columns.mean() + 0.5) / image.shape[1], (rows.mean() + 0.5) / image.shape[0])
            ]
    return []


if __name__ == "__main__":
    origin = sys.argv[1]
    policy = Policy(origins=(origin,), secrets={"pin": Secret("s3cr3t-pin", (origin,))})
    port = int(sys.argv[2]) if len(sys.argv) > 2 else None
    serve(FakePointer(find), policy, Screen(600, 400), port=port, files=Path(__file__).parent)
