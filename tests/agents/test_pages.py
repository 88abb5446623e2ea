"""The adversarial pages: the exact status, nothing forbidden done, judged by the page's own record and the servers' logs.

Every page runs with the synchronous face, the races and every eighth other one with the asynchronous face too: both run the
same steps. `pytest -m slow` runs every page five times with both, at full speed and six times slower: one run that is right
proves little about races.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from molmo_agents.browser.launch import context_options

from tests.agents.cases import note_file, run_sync
from tests.agents.conftest import Site
from tests.agents.many import SCREEN, all_async, all_naive, in_thread
from tests.agents.pages import CASES, Case

pytestmark = pytest.mark.browser
RUNS = 5
"""How often each page runs where everything is run."""

RACES = [
    case
    for case in CASES
    if case.think
    or "hover" in case.name
    or "stands still" in case.name
    or "comes to rest" in case.name
]
CLICKS = [case for case in RACES if case.verb == "click"]
SOME = [case for n, case in enumerate(CASES) if case in RACES or n % 8 == 0]


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
    assert run_sync(case, context, site, canary, note_file(tmp_path)) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("cpu", [1, 6], ids=["full speed", "six times slower"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_page_sync_five_times(
    case: Case, cpu: int, context: Any, site: Site, canary: Site, tmp_path: Path
) -> None:
    for _ in range(RUNS):
        site.log.clear()
        assert run_sync(case, context, site, canary, note_file(tmp_path), cpu=cpu) == []


@pytest.mark.parametrize("case", RACES, ids=lambda case: case.name)
def test_page_on_a_slow_machine(
    case: Case, context: Any, site: Site, canary: Site, tmp_path: Path
) -> None:
    """Six times slower, races that an idle machine hides come out."""
    assert run_sync(case, context, site, canary, note_file(tmp_path), cpu=6) == []


@pytest.mark.parametrize("frames", [0, 2], ids=["raw mouse", "two frames"])
def test_naive_ways_go_wrong_here(frames: int, chromium: str, tmp_path: Path) -> None:
    """The pages are as hard as they are said to be: pressing at once, or after a fixed wait, does not get through them."""
    good = in_thread(all_naive(CLICKS, note_file(tmp_path), frames, 6.0, enough=5), 590)
    assert good.count(False) >= 5


@pytest.mark.lengthy
def test_pages_async(chromium: str, tmp_path: Path) -> None:
    assert in_thread(all_async(SOME, note_file(tmp_path), 1.0), 590) == {}


@pytest.mark.slow
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("cpu", [1, 6], ids=["full speed", "six times slower"])
def test_pages_async_five_times(chromium: str, tmp_path: Path, cpu: int) -> None:
    work = all_async(CASES * RUNS, note_file(tmp_path), float(cpu))
    assert in_thread(work, 14_000) == {}
