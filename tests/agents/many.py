"""Many adversarial pages with Playwright's async face, some at a time, in a browser of their own."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing, suppress
from typing import Any, TypeVar

from molmo_agents.browser.launch import Screen, context_options, launch

from tests.agents.cases import run_async, run_naive
from tests.agents.conftest import Site
from tests.agents.pages import Case

SCREEN = Screen(900, 600)
Result = TypeVar("Result")


AT_ONCE = 3
"""Pages that are open at a time: each mostly waits."""

Run = Callable[[Case, Any, Site, Site], Awaitable[Result]]
"""Runs a case in a browser context, with its server and its canary."""


async def all_at_once(cases: list[Case], run: Run[Result]) -> list[Result]:
    """Run every case, each in a context of its own; return the results in the order of the cases."""
    from playwright.async_api import async_playwright

    free = asyncio.Semaphore(AT_ONCE)
    async with async_playwright() as playwright:
        browser = await launch(playwright, extra=("--site-per-process",))

        async def one(case: Case) -> Result:
            async with free:
                with closing(Site()) as site, closing(Site()) as canary:
                    context = await browser.new_context(**context_options(SCREEN, downloads=True))
                    result = await run(case, context, site, canary)
                    with suppress(Exception):
                        # Slowed down and leaving for elsewhere, Chromium sometimes never says that a page is closed.
                        await asyncio.wait_for(context.close(), 10)
                    return result

        results = await asyncio.gather(*map(one, cases))
        await browser.close()
    return results


async def all_naive(
    cases: list[Case], file: str, frames: int, cpu: float, enough: int | None = None
) -> list[bool]:
    """Run cases the naive way (`run_naive`); return for each whether it went well.

    With `enough`, cases that were not begun when that number of them had gone wrong are left out.
    """
    wrong: list[str] = []

    async def run(case: Case, context: Any, site: Site, canary: Site) -> bool | None:
        if enough is not None and len(wrong) >= enough:
            return None
        good = await run_naive(case, context, site, canary, file, frames, cpu)
        wrong.extend([] if good else [case.name])
        return good

    return [good for good in await all_at_once(cases, run) if good is not None]


async def all_async(cases: list[Case], file: str, cpu: float) -> dict[str, list[str]]:
    """Run cases with `AsyncWebPointer`; return what was wrong, by the name of the case."""

    async def run(case: Case, context: Any, site: Site, canary: Site) -> list[str]:
        try:
            return await asyncio.wait_for(run_async(case, context, site, canary, file, cpu), 300)
        except Exception as error:
            return [f"{type(error).__name__}: {error}"]

    wrong: dict[str, list[str]] = {}
    for case, found in zip(cases, await all_at_once(cases, run), strict=True):
        if found:
            wrong.setdefault(case.name, []).extend(found)
    return wrong


def in_thread(work: Coroutine[Any, Any, Result], timeout_s: float) -> Result:
    """Playwright's two faces do not share a thread: this one gets its own, with its own event loop and browser."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result(timeout=timeout_s)
