"""The adversarial pages: the exact status, nothing forbidden done, judged by the page's own record and the servers' logs.

Every page runs with the synchronous face, the races and every fourth other one with the asynchronous face too: both run the
same steps. `MOLMO_PAGE_RUNS=5` runs every page that often with both: one run that is right proves little about races.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from molmo_agents.browser import Screen, context_options, launch

from tests.agents.cases import note_file, run_async, run_naive, run_sync
from tests.agents.conftest import Site
from tests.agents.pages import CASES, Case

pytestmark = pytest.mark.browser
RUNS = int(os.environ.get("MOLMO_PAGE_RUNS", "1"))
EVERYTHING = "MOLMO_PAGE_RUNS" in os.environ
SCREEN = Screen(900, 600)

RACES = [
    case
    for case in CASES
    if case.think
    or "hover" in case.name
    or "stands still" in case.name
    or "comes to rest" in case.name
]
CLICKS = [case for case in RACES if case.verb == "click"]
ASYNC = (
    CASES if EVERYTHING else [case for n, case in enumerate(CASES) if case in RACES or n % 4 == 0]
)


def test_there_are_enough_pages() -> None:
    assert len(CASES) >= 90
    assert len({case.name for case in CASES}) == len(CASES)
    assert len(RACES) >= 10


@pytest.fixture(scope="module")
def context(browser: Any) -> Any:
    context = browser.new_context(**context_options(SCREEN, downloads=True))
    yield context
    context.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_page_sync(case: Case, context: Any, site: Site, canary: Site, tmp_path: Path) -> None:
    for _ in range(RUNS):
        site.log.clear()
        assert run_sync(case, context, site, canary, note_file(tmp_path)) == []


@pytest.mark.parametrize("case", RACES, ids=lambda case: case.name)
def test_page_on_a_slow_machine(
    case: Case, context: Any, site: Site, canary: Site, tmp_path: Path
) -> None:
    """Six times slower, races that an idle machine hides come out."""
    for _ in range(RUNS):
        site.log.clear()
        assert run_sync(case, context, site, canary, note_file(tmp_path), cpu=6) == []


@pytest.mark.parametrize("frames", [0, 2], ids=["raw mouse", "two frames"])
def test_naive_ways_go_wrong_here(
    frames: int, context: Any, site: Site, canary: Site, tmp_path: Path
) -> None:
    """The pages are as hard as they are said to be: pressing at once, or after a fixed wait, does not get through them."""
    good = [
        run_naive(case, context, site, canary, note_file(tmp_path), frames, 6) for case in CLICKS
    ]
    assert good.count(False) >= 5


async def _all_async(file: str) -> dict[str, list[str]]:
    from playwright.async_api import async_playwright

    wrong: dict[str, list[str]] = {}
    async with async_playwright() as playwright:
        browser = await launch(playwright, extra=("--site-per-process",))
        context = await browser.new_context(**context_options(SCREEN, downloads=True))
        for case in ASYNC * RUNS:
            site, canary = Site(), Site()
            try:
                found = await asyncio.wait_for(run_async(case, context, site, canary, file), 60)
            except Exception as error:
                found = [f"{type(error).__name__}: {error}"]
            finally:
                site.close()
                canary.close()
            if found:
                wrong[case.name] = found
        await browser.close()
    return wrong


def test_pages_async(chromium: str, tmp_path: Path) -> None:
    """Playwright's two faces do not share a thread: this one gets its own, with its own event loop and browser."""
    result: dict[str, Any] = {}

    def work() -> None:
        result["wrong"] = asyncio.run(_all_async(note_file(tmp_path)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=500)
    assert result.get("wrong") == {}
