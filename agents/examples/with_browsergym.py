"""A pointing agent and a pointing action in BrowserGym: FOLDER/browsergym/bin/python agents/examples/with_browsergym.py

Runs in an environment of its own (environments.sh): BrowserGym pins an old Playwright. The agent answers each observation with
`mouse_click(x, y)` in pixels of the screenshot; the action `point_click("...")` lets a planner write words. By default the pages'
own buttons are read; `--model nano` looks with a model.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

from molmo_agents.adapters import browsergym as adapter
from molmo_agents.bench.miniwob.pages import MiniwobPages
from molmo_agents.browser.launch import find_chromium, launch_arguments
from molmo_agents.pointers import choose_pointer

from molmo_point.testing import FakePointer

TASKS = ("click-test", "click-button", "click-link")
_FIND = """(words) => [...document.querySelectorAll('#area button, #area .alink, #area input[type=submit]')]
    .filter((e) => !words || (e.innerText || e.value).trim() === words).slice(0, 1).map((e) => {
    const r = [...e.getClientRects()].sort((a, b) => b.width * b.height - a.width * a.height)[0];
    return [r.left + r.width / 2, r.top + r.height / 2];
})"""


def use_our_chromium(folder: Path) -> None:
    """Put a starter for this machine's Chromium where BrowserGym's Playwright looks for its own.

    BrowserGym opens a second window of its own and cannot be told there which browser to use.
    """
    os.environ["PLAYWRIGHT_BROWSERS_PATH"] = str(folder)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        starter = Path(playwright.chromium.executable_path)
    starter.parent.mkdir(parents=True, exist_ok=True)
    words = shlex.join(launch_arguments())
    starter.write_text(f'#!/bin/sh\nexec "{find_chromium()}" {words} "$@"\n')
    starter.chmod(starter.stat().st_mode | stat.S_IXUSR)


def read_page(env: Any, whole_window: bool) -> Any:
    """A pointer that reads the page behind the environment instead of its screenshot.

    Args:
        env: The environment.
        whole_window: The screenshot shows the browser's whole window, a pixel for each CSS pixel. BrowserGym's own screenshots
            show, larger, the viewport that it asked for; afterwards the page is as large as the window again.
    """

    def answer(image: Any, query: str) -> Any:
        page = env.unwrapped.page
        quoted = re.search(r'"(.+)"', query)
        found = page.evaluate(_FIND, quoted.group(1) if quoted else "")
        height, width, _ = image.shape
        if not whole_window:
            width, height = page.viewport_size["width"], page.viewport_size["height"]
        elif [width, height] != page.evaluate("() => [innerWidth, innerHeight]"):
            # A small target is looked at again, larger; this reader knows the whole page only, and its first answer stands.
            return []
        return [(x / width, y / height) for x, y in found]

    return FakePointer(answer)


def play(task: str, model: str) -> tuple[float, float]:
    """Play one episode with the agent and one with the custom action; return both rewards."""
    import browsergym.miniwob  # noqa: F401  (registers the environments)
    import gymnasium
    from browsergym.core.action.highlevel import HighLevelActionSet

    rewards = []
    for subset, custom in (("coord", None), ("custom", [adapter.point_click])):
        actions = HighLevelActionSet(subsets=[subset], custom_actions=custom, strict=True)
        env = gymnasium.make(
            f"browsergym/miniwob.{task}",
            action_mapping=actions.to_python_code,
            headless=True,
            timeout=60_000,
        )
        try:
            observation, _ = env.reset(seed=1)
            pointer = choose_pointer(model) if model else read_page(env, custom is not None)
            if custom:
                adapter.choose_pointer = lambda name, pointer=pointer: pointer
                action = f"point_click({observation['goal']!r})"
            else:
                agent = adapter.PointAgent(pointer)
                action, _ = agent.get_action(agent.obs_preprocessor(observation))
            after, reward, *_ = env.step(action)
            print(f"{task}: {action} -> reward {reward:.1f} {after['last_action_error']}".rstrip())
            rewards.append(float(reward))
        finally:
            env.close()
    return rewards[0], rewards[1]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="", help="nano, a model name or folder, or a server")
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, MiniwobPages() as served:
        use_our_chromium(Path(folder))
        os.environ["MINIWOB_URL"] = f"{served.origin}/miniwob/"
        os.environ["MOLMO_ALLOW_RISKS"] = "buy pay delete send permission"
        rewards = [reward for task in options.tasks for reward in play(task, options.model)]
    print(f"{sum(reward > 0 for reward in rewards)} of {len(rewards)} episodes rewarded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
