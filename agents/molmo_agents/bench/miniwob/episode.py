"""One episode of one MiniWoB++ task: start it with a seed, read what is asked, read the reward."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from molmo_agents.bench.miniwob.pages import MiniwobPages
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import UsageError

_START = """(seed) => {
    Math.seedrandom(seed);
    core.EPISODE_MAX_TIME = 1e6;
    core.startEpisodeReal();
}"""
_SAID = """() => { const said = core.getUtterance(); return typeof said === 'string' ? said : said.utterance; }"""


@dataclass(frozen=True)
class Episode:
    """A started episode.

    Attributes:
        task: Name of the task.
        seed: What the page was made from.
        utterance: What it asks for.
        page: The Playwright page it runs on.
    """

    task: str
    seed: int
    utterance: str
    page: Any

    @classmethod
    def start(cls, web: WebPointer, pages: MiniwobPages, task: str, seed: int) -> Episode:
        """Open the task's page and start an episode without a clock.

        Raises:
            UsageError: The page did not open.
        """
        from playwright.sync_api import TimeoutError  # comes with the page

        opened = web.goto(pages.url(task))
        if not opened.ok:
            raise UsageError(f"the task {task!r} did not open: {opened.message}")
        page = web.page
        page.evaluate(_START, seed)
        page.wait_for_function("() => WOB_TASK_READY", timeout=10_000)
        # Icons that come through CSS have no width until they are fetched. A machine that is too busy to become idle plays on.
        with suppress(TimeoutError):
            page.wait_for_load_state("networkidle", timeout=10_000)
        return cls(task, seed, str(page.evaluate(_SAID)), page)

    @property
    def done(self) -> bool:
        """Whether the page has decided."""
        return bool(self.page.evaluate("() => WOB_DONE_GLOBAL"))

    @property
    def reward(self) -> float:
        """The raw reward, -1 to 1, without the time penalty; 0 while undecided."""
        return float(self.page.evaluate("() => WOB_RAW_REWARD_GLOBAL"))
