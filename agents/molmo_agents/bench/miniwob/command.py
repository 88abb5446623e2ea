"""`molmo-web bench miniwob`: a table of tasks, successes and intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table

from molmo_agents.bench.miniwob.bench import Score, play_all, policy_for
from molmo_agents.bench.miniwob.oracle import DomPointer
from molmo_agents.bench.miniwob.pages import MiniwobPages
from molmo_agents.bench.miniwob.tasks import TIERS
from molmo_agents.browser.launch import Screen, open_page
from molmo_agents.pointers import choose_pointer
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import UsageError
from molmo_point.evaluate.scores import proportion

SCREEN = Screen(332, 214)
"""BrowserGym's viewport: dialogs place themselves by the window, and would leave a narrower one."""


def bench(tiers: Sequence[str], seeds: int, model: str, noise_px: float, as_json: bool) -> None:
    """Play the tiers with a pointer and print what came of it.

    Raises:
        UsageError: An unknown tier, or no episodes.
    """
    unknown = sorted(set(tiers) - set(TIERS))
    if unknown or seeds < 1:
        raise UsageError(
            f"expected tiers among {', '.join(TIERS)} and at least 1 seed, got {list(tiers)}, {seeds}"
        )
    tasks = [task for tier in tiers for task in TIERS[tier]]
    scores: list[Score] = []
    with MiniwobPages() as pages, open_page(SCREEN) as page:
        oracle = DomPointer(page, noise_px=noise_px) if model == "dom" else None
        pointer = oracle.pointer if oracle is not None else choose_pointer(model)
        with WebPointer(page, pointer, policy_for(pages)) as web:
            if oracle is not None:
                oracle.web = web
            for score in play_all(web, pages, tasks, range(seeds)):
                scores.append(score)
                typer.echo(f"{score.task} seed {score.seed}: {score.reward:+.2f}", err=True)
    if as_json:
        typer.echo(json.dumps([vars(score) for score in scores]))
        return
    Console().print(_table(tasks, scores))


def _table(tasks: Sequence[str], scores: Sequence[Score]) -> Table:
    table = Table("task", "success", "95 % interval", "mean reward")
    for name in (*tasks, "all"):
        mine = [score for score in scores if name in (score.task, "all")]
        wins = sum(score.success for score in mine)
        rate = proportion(wins, len(mine))
        mean = sum(score.reward for score in mine) / max(1, len(mine))
        table.add_row(
            name, f"{wins}/{len(mine)}", f"{rate.low:.0%}-{rate.high:.0%}", f"{mean:+.2f}"
        )
    return table
