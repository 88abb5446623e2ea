"""Measure the web agents: time of a guarded click, repeated adversarial pages, memory over a long session, MiniWoB++ with any
pointer.

python -m benchmarks.agents step                     milliseconds per phase of a guarded click, model left out
python -m benchmarks.agents pages --runs 5 --cpu 6   every adversarial page, compared with unguarded clicks
python -m benchmarks.agents life --steps 500         memory and handles over a long session
python -m benchmarks.agents model --model nano       the listed MiniWoB++ tasks, compared with random and centre clicks
python -m benchmarks.agents mockups --model nano     generated pages, compared with the same

Without arguments: model, then mockups, with nano.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from molmo_agents import Options, Policy, WebPointer
from molmo_agents.bench.miniwob import TIERS, DomPointer, Episode, MiniwobPages, play_all
from molmo_agents.bench.miniwob.bench import policy_for
from molmo_agents.bench.miniwob.command import SCREEN
from molmo_agents.bench.mockup_bench import run_mockups
from molmo_agents.browser.launch import Screen, context_options, launch, open_page
from molmo_agents.pointers import choose_pointer

from benchmarks.report import hardware
from molmo_point.evaluate.scores import proportion
from molmo_point.points import Point
from molmo_point.testing import FakePointer
from tests.agents.cases import note_file, run_sync
from tests.agents.conftest import Site
from tests.agents.many import all_naive, in_thread
from tests.agents.oracle import HELPER
from tests.agents.pages import CASES

CENTRE = Point(x=80 / SCREEN.width, y=130 / SCREEN.height)
"""Middle of MiniWoB's task area, which begins below its instruction at 50 px."""


def step(options: argparse.Namespace) -> None:
    """Print medians over guarded clicks on a page with a few hundred controls."""
    site = Site()
    rows = "".join(f"<p><a href='#{n}'>link {n}</a> <input value={n}></p>" for n in range(150))
    site.routes["/"] = HELPER + f"<body><button style='width:200px;height:60px'>Go</button>{rows}"
    phases: dict[str, list[float]] = defaultdict(list)
    with open_page(Screen()) as page:
        page.goto(site.url + "/")
        pointer = FakePointer({"go": [(100 / 1280, 50 / 800)]})
        with WebPointer(page, pointer, Policy(max_actions=100_000)) as web:
            for _ in range(options.steps):
                outcome = web.click("go")
                assert outcome.ok, outcome
                start = time.perf_counter()
                page.screenshot(scale="css")
                page.locator("button").click()
                phases["(Playwright: screenshot + locator.click)"].append(
                    (time.perf_counter() - start) * 1000
                )
                for name, seconds in outcome.timings.items():
                    phases[name].append(seconds * 1000)
                phases["without the model"].append(
                    (outcome.timings["total"] - outcome.timings["point"]) * 1000
                )
    site.close()
    print(f"{'phase':<42}{'median ms':>10}{'p90 ms':>10}")
    for name, values in phases.items():
        print(
            f"{name:<42}{statistics.median(values):>10.0f}{statistics.quantiles(values, n=10)[-1]:>10.0f}"
        )


def pages(options: argparse.Namespace) -> None:
    """Run every page `--runs` times; then the naive ways on the pages that race."""
    from playwright.sync_api import sync_playwright

    folder = Path(tempfile.mkdtemp())
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = launch(playwright, extra=("--site-per-process",))
        context = browser.new_context(**context_options(Screen(900, 600), downloads=True))
        for run in range(options.runs):
            for case in CASES:
                with _servers() as (site, canary):
                    found = run_sync(case, context, site, canary, note_file(folder), options.cpu)
                wrong += [f"run {run + 1}, {case.name}: {line}" for line in found]
            print(f"run {run + 1}: {len(CASES)} pages, {len(wrong)} wrong so far", flush=True)
        racing = [
            case for case in CASES if case.verb == "click" and (case.think or "hover" in case.name)
        ]
        for frames, name in ((0, "raw mouse"), (2, "wait two frames")):
            good = in_thread(all_naive(racing, note_file(folder), frames, options.cpu), 3600)
            print(f"{name}: {sum(good)}/{len(racing)} of the racing pages as they should be")
        browser.close()
    print(*wrong, sep="\n")
    print(f"{len(CASES) * options.runs} runs at CPU/{options.cpu:g}: {len(wrong)} wrong")


@contextmanager
def _servers() -> Iterator[tuple[Site, Site]]:
    site, canary = Site(), Site()
    try:
        yield site, canary
    finally:
        site.close()
        canary.close()


def life(options: argparse.Namespace) -> None:
    """Print what a page and our own process hold after many steps."""
    site = Site()
    press = f"f.innerHTML = '<iframe src={site.other_url}/in></iframe>'"
    site.routes["/in"] = "<p>in</p>"
    site.routes["/"] = (
        f'{HELPER}<body><button style="width:200px;height:60px" onclick="{press}">Go</button><div id=f></div>'
    )
    with open_page(Screen()) as page:
        page.goto(site.url + "/")
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        policy = Policy(resources=(site.other_url,), max_actions=100_000, max_looks=100_000)
        with WebPointer(page, FakePointer({"go": [(100 / 1280, 50 / 800)]}), policy) as web:
            for number in range(options.steps + 1):
                assert web.click("go").ok
                if number % max(1, options.steps // 5) == 0:
                    print(
                        f"step {number:>5}: {_counts(session)} own memory {_own_mib():.0f} MiB",
                        flush=True,
                    )
    site.close()


def _counts(session: Any) -> str:
    session.send("HeapProfiler.collectGarbage")
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    names = ("Nodes", "JSEventListeners", "Documents", "Frames")
    heap = metrics["JSHeapUsedSize"] / 2**20
    return (
        ", ".join(f"{name} {metrics[name]:.0f}" for name in names) + f", page heap {heap:.2f} MiB,"
    )


def _own_mib() -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def model(options: argparse.Namespace) -> None:
    """Print successes of a pointer on MiniWoB++ next to clicking at random and in the middle."""
    tasks = [task for tier in options.tier.split(",") for task in TIERS[tier]]
    chance = random.Random(0)

    def blind(place: Any) -> Any:
        def play(web: WebPointer, episode: Episode) -> None:
            web.click(place())

        return play

    ways: dict[str, Any] = {
        "random click": blind(
            lambda: Point(
                x=chance.random() * 160 / SCREEN.width,
                y=(50 + chance.random() * 160) / SCREEN.height,
            )
        ),
        "centre click": blind(lambda: CENTRE),
        options.model: None,
    }
    with MiniwobPages() as served, open_page(SCREEN) as page:
        for name, play in ways.items():
            oracle = DomPointer(page, noise_px=options.noise_px) if name == "dom" else None
            pointer = oracle.pointer if oracle else FakePointer() if play else choose_pointer(name)
            with WebPointer(page, pointer, policy_for(served), Options(zoom=play is None)) as web:
                if oracle is not None:
                    oracle.web = web
                scores = list(play_all(web, served, tasks, range(options.seeds), play))
            wins = sum(score.success for score in scores)
            rate = proportion(wins, len(scores))
            print(
                f"{name:<14}{wins:>4}/{len(scores):<5}{wins / len(scores):>7.1%}   95 % {rate.low:.1%}-{rate.high:.1%}",
                flush=True,
            )


def mockups(options: argparse.Namespace) -> None:
    """Print how often a pointer clicks the right thing on generated pages, compared with random and centre clicks."""
    chance = random.Random(0)
    ways: dict[str, Any] = {
        "random click": lambda web, query: web.click(Point(x=chance.random(), y=chance.random())),
        "centre click": lambda web, query: web.click(Point(x=0.5, y=0.5)),
        options.model: None,
    }
    for name, press in ways.items():
        look = press is None and name != "dom"
        pointer = choose_pointer(name) if look else None
        trials = run_mockups(range(4 * options.seeds), pointer, press, Options(zoom=look))
        for what, present in (("there", True), ("absent", False)):
            mine = [trial for trial in trials if trial.present is present]
            right, wrong = sum(t.right for t in mine), sum(t.wrong for t in mine)
            rate = proportion(right, len(mine))
            print(
                f"{name:<14}{what:<8}{right:>4}/{len(mine):<5}{right / len(mine):>7.1%}   "
                f"95 % {rate.low:.1%}-{rate.high:.1%}   something else pressed {wrong}",
                flush=True,
            )


COMMANDS = {"step": step, "pages": pages, "life": life, "model": model, "mockups": mockups}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in COMMANDS.items():
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--steps", type=int, default=500 if name == "life" else 60)
        command.add_argument("--runs", type=int, default=5)
        command.add_argument(
            "--cpu",
            type=float,
            default=1.0,
            help="how many times slower the page's processor is made",
        )
        command.add_argument("--seeds", type=int, default=5)
        command.add_argument("--tier", default="A,B,C")
        command.add_argument("--model", default="nano", help="as on the command line, or dom")
        command.add_argument("--noise-px", type=float, default=0.0)
    for words in [sys.argv[1:]] if sys.argv[1:] else [["model"], ["mockups"]]:
        options = parser.parse_args(words)
        print(f"## {' '.join(words)}: {hardware()}", flush=True)
        options.run(options)


if __name__ == "__main__":
    main()
