"""Play tasks with a pointer and count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from molmo_agents.bench.miniwob.episode import Episode
from molmo_agents.bench.miniwob.pages import MiniwobPages
from molmo_agents.bench.miniwob.tasks import TASKS
from molmo_agents.policy import RISKS, Policy, allow_risks
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import UsageError


@dataclass(frozen=True)
class Score:
    """One episode's end: raw reward -1 to 1; success is a reward above 0, as BrowserGym counts."""

    task: str
    seed: int
    utterance: str
    reward: float
    done: bool

    @property
    def success(self) -> bool:
        return self.reward > 0


def policy_for(pages: MiniwobPages) -> Policy:
    """A policy for the benchmark: its own origin only; every risky word is allowed, since the pages are made of them."""
    return Policy(
        origins=(pages.origin,),
        confirm=allow_risks(RISKS),
        max_actions=1_000_000,
        max_looks=1_000_000,
        max_seconds=86_400.0,
    )


def play_all(
    web: WebPointer,
    pages: MiniwobPages,
    tasks: Iterable[str],
    seeds: Iterable[int],
    play: Callable[[WebPointer, Episode], None] | None = None,
) -> Iterator[Score]:
    """Play each task with each seed; yield the score of each episode as it ends.

    Args:
        web: A pointer whose policy is `policy_for(pages)`.
        pages: The server.
        tasks: Names of tasks.
        seeds: Seeds of the pages.
        play: How to play; None plays each task as `tasks` says.

    Raises:
        UsageError: An unknown task.
    """
    chosen = list(tasks)
    unknown = sorted(set(chosen) - set(TASKS))
    if unknown:
        raise UsageError(f"unknown tasks {unknown}: choose from {sorted(TASKS)}")
    for task in chosen:
        for seed in seeds:
            episode = Episode.start(web, pages, task, seed)
            if play is None:
                TASKS[task](web, episode.utterance)
            else:
                play(web, episode)
            yield Score(task, seed, episode.utterance, episode.reward, episode.done)
