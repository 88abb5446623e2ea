"""`molmo-web bench mockups`: how often a pointer presses the right thing on pages it has not seen, and the wrong one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from molmo_agents.bench.generated_pages import Trial, mockup_oracle, mockup_page, play_mockups
from molmo_agents.browser.launch import Screen, open_page
from molmo_agents.browser.loopback import serve_html
from molmo_agents.pointers import choose_pointer
from molmo_agents.policy import RISKS, Policy, allow_risks
from molmo_agents.session import Options
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import UsageError
from molmo_point.evaluate.scores import proportion
from molmo_point.pointer import Pointer

SCREEN = Screen(360, 270)
"""Small, like the images that small models are trained on."""

Press = Callable[[WebPointer, str], Any]


def run_mockups(
    seeds: Iterable[int],
    pointer: Pointer | None,
    press: Press | None = None,
    options: Options | None = None,
    told: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Open a browser and ask the questions of these pages.

    Args:
        seeds: The pages.
        pointer: What to look with; None reads the pages instead.
        press: See `play_mockups`.
        options: Of the `WebPointer`.
        told: Called after each trial.
    """
    oracle, attach = mockup_oracle()
    trials: list[Trial] = []
    with serve_html(mockup_page) as origin, open_page(SCREEN) as page:
        policy = Policy(
            origins=(origin,),
            confirm=allow_risks(RISKS),
            max_actions=1_000_000,
            max_looks=1_000_000,
            max_seconds=86_400.0,
        )
        with WebPointer(page, pointer or oracle, policy, options) as web:
            attach(web)
            for trial in play_mockups(web, origin, seeds, press):
                trials.append(trial)
                told(trial)
    return trials


def bench(seeds: int, model: str, as_json: bool) -> None:
    """Ask about the first `seeds` pages and print what came of it.

    Raises:
        UsageError: No pages.
    """
    if seeds < 1:
        raise UsageError(f"expected at least 1 seed, got {seeds}")

    def told(trial: Trial) -> None:
        mark = "ok " if trial.right else "BAD"
        typer.echo(f"{mark} seed {trial.seed} {trial.query}: {trial.status}", err=True)

    pointer = None if model == "dom" else choose_pointer(model)
    trials = run_mockups(range(seeds), pointer, told=told)
    if as_json:
        typer.echo(json.dumps([vars(trial) for trial in trials]))
        return
    Console().print(_table(trials))


def _table(trials: Sequence[Trial]) -> Table:
    table = Table("asked for", "right", "95 % interval", "something else pressed")
    for name, present in (("what is there", True), ("what is not", False)):
        mine = [trial for trial in trials if trial.present is present]
        right = sum(trial.right for trial in mine)
        rate = proportion(right, len(mine))
        wrong = sum(trial.wrong for trial in mine)
        table.add_row(name, f"{right}/{len(mine)}", f"{rate.low:.0%}-{rate.high:.0%}", str(wrong))
    return table
