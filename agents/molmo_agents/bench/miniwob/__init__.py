"""MiniWoB++ offline, through Playwright: the pages of the `miniwob` wheel, played with a `WebPointer`."""

from __future__ import annotations

from molmo_agents.bench.miniwob.bench import Score, play_all
from molmo_agents.bench.miniwob.episode import Episode
from molmo_agents.bench.miniwob.oracle import DomPointer
from molmo_agents.bench.miniwob.pages import MiniwobPages
from molmo_agents.bench.miniwob.tasks import TASKS, TIERS

__all__ = ["TASKS", "TIERS", "DomPointer", "Episode", "MiniwobPages", "Score", "play_all"]
