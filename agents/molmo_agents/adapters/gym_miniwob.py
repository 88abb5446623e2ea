"""MiniWoB++ as a Gymnasium environment, through Playwright: screenshot and task in, a place to click out. No Selenium."""

from __future__ import annotations

from typing import Any

import numpy as np

from molmo_agents.bench.miniwob.bench import policy_for
from molmo_agents.bench.miniwob.command import SCREEN
from molmo_agents.bench.miniwob.episode import Episode
from molmo_agents.bench.miniwob.pages import MiniwobPages
from molmo_agents.browser.launch import Screen, open_page
from molmo_agents.playwright_types import Json
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import UsageError
from molmo_point.images import load_image
from molmo_point.install import import_failure
from molmo_point.points import Point
from molmo_point.testing import FakePointer

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise import_failure(error, "gymnasium", "agents", "the MiniWoB++ environment") from error

VERBS = ("click", "hover")
MAX_TEXT = 500
LETTERS = "".join(chr(code) for code in range(32, 0x250))
"""Latin letters with accents, digits and signs: what the tasks are written in."""


class MiniwobEnv(gymnasium.Env[Json, Json]):
    """One task. Close it, or its browser stays.

    Observation: {"image": (height, width, 3) uint8 RGB of the viewport, "utterance": the task}.
    Action: {"point": (2,) float32 in 0-1 of the image, "verb": 0 click or 1 hover}.
    Reward: the page's raw reward, -1 to 1, once it has decided; `info["outcome"]` says what became of the action.
    """

    metadata: Json = {"render_modes": ["rgb_array"]}  # noqa: RUF012  (as the base class has it)
    render_mode = "rgb_array"

    def __init__(self, task: str, *, max_steps: int = 20, screen: Screen = SCREEN) -> None:
        self._task, self._max_steps = task, max_steps
        self._pages = MiniwobPages()
        self._open = open_page(screen)
        try:
            page = self._open.__enter__()
        except BaseException:
            self._pages.close()
            raise
        self._web = WebPointer(page, FakePointer(), policy_for(self._pages))
        self._episode: Episode | None = None
        self._steps = 0
        shape = (screen.height, screen.width, 3)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, shape, np.uint8),
                "utterance": spaces.Text(MAX_TEXT, min_length=0, charset=LETTERS),
            }
        )
        self.action_space = spaces.Dict(
            {"point": spaces.Box(0.0, 1.0, (2,), np.float32), "verb": spaces.Discrete(len(VERBS))}
        )

    @property
    def page(self) -> Any:
        """The Playwright page, for pointers that read it instead of its screenshot."""
        return self._web.page

    def reset(self, *, seed: int | None = None, options: Json | None = None) -> tuple[Json, Json]:
        """Start an episode; the same seed makes the same page."""
        super().reset(seed=seed)
        drawn = seed if seed is not None else int(self.np_random.integers(1_000_000))
        self._episode = Episode.start(self._web, self._pages, self._task, drawn)
        self._steps = 0
        return self._observe(), {"seed": drawn}

    def step(self, action: Json) -> tuple[Json, float, bool, bool, Json]:
        """Do one action; see the class."""
        if self._episode is None:
            raise UsageError("call reset() before step()")
        x, y = (float(v) for v in action["point"])
        place = Point(x=x, y=y)
        outcome = (
            self._web.click(place)
            if VERBS[int(action["verb"])] == "click"
            else self._web.hover(place)
        )
        self._steps += 1
        done = self._episode.done
        reward = self._episode.reward if done else 0.0
        truncated = not done and self._steps >= self._max_steps
        return self._observe(), reward, done, truncated, {"outcome": outcome}

    def render(self) -> np.ndarray[Any, Any]:  # type: ignore[override, unused-ignore]
        """Return the screenshot, (height, width, 3) uint8 RGB."""
        image: np.ndarray[Any, Any] = self._observe()["image"]
        return image

    def close(self) -> None:
        """End browser and server."""
        self._web.close()
        self._open.__exit__(None, None, None)
        self._pages.close()

    def _observe(self) -> Json:
        if self._episode is None:
            raise UsageError("call reset() first")
        screenshot = self._web.look().screenshot
        if screenshot is None:
            raise UsageError("the page cannot be looked at any more: make a new environment")
        return {
            "image": load_image(screenshot.image),
            "utterance": self._episode.utterance[:MAX_TEXT],
        }
