"""A browser-use tool that clicks by description: FOLDER/browser-use/bin/python agents/examples/with_browser_use.py

Runs in an environment of its own (environments.sh). No language model is asked: the tool is called as browser-use would call it
when its planner writes `click_described("the Add button ...")`. `--model nano` looks with a model instead of a place given here.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from browser_use import BrowserSession, Tools
from molmo_agents import Policy
from molmo_agents.adapters.browser_use import register
from molmo_agents.browser.launch import find_chromium, launch_arguments
from molmo_agents.pointers import choose_pointer
from serve import pages

QUERY = "the Add button of the red tulips"
PLACE = """() => {
    const r = document.querySelector('button').getBoundingClientRect();
    return [(r.left + r.width / 2) / innerWidth, (r.top + r.height / 2) / innerHeight].join();
}"""


async def use(address: str, model: str) -> bool:
    session = BrowserSession(
        executable_path=find_chromium(),
        headless=True,
        args=launch_arguments(),
        chromium_sandbox=False,
    )
    await session.start()
    try:
        await session.navigate_to(f"{address}/shop.html")
        page = await session.must_get_current_page()
        at = None if model else str(await page.evaluate(PLACE))
        tools = Tools()
        register(tools, choose_pointer(model, at), Policy(origins=(address,)))
        done = await tools.registry.execute_action(
            "click_described", {"description": QUERY}, browser_session=session
        )
        basket = await page.evaluate("() => document.getElementById('n').textContent")
        print(f"{QUERY}: {done}; in the basket: {basket}")
        return basket == "1"
    finally:
        await session.kill()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="", help="nano, a model name or folder, or a server")
    options = parser.parse_args()
    with pages() as address:
        good = asyncio.run(asyncio.wait_for(use(address, options.model), 120))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
