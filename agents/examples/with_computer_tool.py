"""Press what an OpenAI- or Anthropic-style `computer` tool call says: python agents/examples/with_computer_tool.py

Such a planner sees a smaller image of the screen, and answers in whole pixels of that image. The adapter turns them
into points and back; the press then goes through `WebPointer`, so it is hit-tested and held to the policy like any other.
"""

from __future__ import annotations

import sys
from typing import Any

from molmo_agents import Policy, WebPointer
from molmo_agents.adapters.computer import from_anthropic, from_openai, to_anthropic, to_openai
from molmo_agents.browser.launch import Screen, open_page
from page_pointer import PagePointer
from serve import pages

from molmo_point.errors import UsageError

SHOWN = (1024, 640)
"""Size of the image that the planner sees of a 1280x800 viewport."""


def planner(marks: PagePointer, query: str) -> list[dict[str, Any]]:
    """Stand in for a planner: the same click, as either vendor's tool call."""
    point = marks.pointer.point(marks.look(), query).points[0]
    return [to_openai(point, SHOWN), to_anthropic(point, SHOWN)]


def main() -> int:
    marks = PagePointer()
    with (
        pages() as address,
        open_page(Screen(1280, 800)) as page,
        WebPointer(page, marks.pointer, Policy(origins=(address,))) as web,
    ):
        marks.web = web
        web.goto(f"{address}/shop.html")
        openai, anthropic = planner(marks, "the Add button of the red tulips")
        for action, read in ((openai, from_openai), (anthropic, from_anthropic)):
            point, button, count = read(action, SHOWN)
            outcome = web.click(point, button=button, count=count)
            print(f"{action} -> {outcome.status} on {outcome.target and outcome.target.name!r}")
        print(f"in the basket: {page.inner_text('#n')}")
        try:
            from_openai({"type": "click", "x": 1200, "y": 10, "button": "left"}, SHOWN)
        except UsageError as refused:
            print(f"refused: {refused}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
