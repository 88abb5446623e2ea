"""BrowserGym and AgentLab: an agent that clicks what its goal names, and an action for planners that write in words.

BrowserGym pins an old Playwright, so this lives in an environment of its own: nothing here imports BrowserGym.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from molmo_agents.playwright_types import Json
from molmo_agents.pointers import choose_pointer
from molmo_agents.policy import Policy, allow_risks
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import UsageError
from molmo_point.pointer import Pointer


class PointAgent:
    """Answers each observation with one `mouse_click(x, y)` at what the goal names.

    Coordinates are pixels of the screenshot: BrowserGym divides by its scale itself.
    """

    def __init__(self, pointer: Pointer) -> None:
        self._pointer = pointer

    def obs_preprocessor(self, obs: Json) -> Json:
        """Keep what is used: the goal and the screenshot, (H, W, 3) uint8 RGB."""
        return {"goal": obs.get("goal", ""), "screenshot": obs["screenshot"]}

    def get_action(self, obs: Json) -> tuple[str, Json]:
        """Return the action and what is known about it."""
        goal = str(obs["goal"]).strip()
        if not goal:
            raise UsageError("the observation has no goal to look for")
        screenshot = obs["screenshot"]
        pointing = self._pointer.point(screenshot, goal)
        point = pointing.best()
        info = {"think": pointing.text, "status": str(pointing.status)}
        if point is None:
            return 'report_infeasible("nothing there matches")', info
        x, y = point.pixel(screenshot.shape[1], screenshot.shape[0])
        return f"mouse_click({x:.1f}, {y:.1f})", info


@dataclass
class PointAgentArgs:
    """AgentLab's picklable description of a `PointAgent`; `model` as on the command line, a server's address mostly."""

    model: str = "nano"
    agent_name: str = "molmo-point"

    def make_agent(self) -> PointAgent:
        """Make the agent, in the process that runs it."""
        return PointAgent(choose_pointer(self.model))

    def set_benchmark(self, benchmark: object, demo_mode: object) -> None:
        """Nothing depends on the benchmark."""

    def set_reproducibility_mode(self) -> None:
        """Greedy answers are reproducible already."""

    def prepare(self) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to stop."""


def point_click(query: str) -> None:
    """
    Click what the description says; it is looked for in the screenshot of the page.

    Examples:
        point_click("the Submit button")
    """
    # BrowserGym copies this source into its own namespace, where `page` is the active page.
    from molmo_agents.adapters.browsergym import click_described

    click_described(page, query)  # type: ignore[name-defined]  # noqa: F821


def click_described(page: Any, query: str, pointer: Pointer | None = None) -> None:
    """Do a guarded click on `page`; raise where it was not delivered, as BrowserGym reports errors to planners.

    The pointer is the one given, else the one named in the environment variable MOLMO_POINTER.

    Raises:
        UsageError: Not delivered; the message says why.
    """
    chosen = pointer or choose_pointer(os.environ.get("MOLMO_POINTER", "nano"))
    risks = os.environ.get("MOLMO_ALLOW_RISKS", "").split()
    policy = Policy(confirm=allow_risks(risks) if risks else None)
    with WebPointer(page, chosen, policy) as web:
        outcome = web.click(query)
    if not outcome.ok:
        raise UsageError(f"{outcome.status}: {outcome.message}")
