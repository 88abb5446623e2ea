"""Many adversarial pages one after another with Playwright's async face, in a browser of their own."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from contextlib import closing
from typing import Any, TypeVar

from molmo_agents.browser.launch import Screen, context_options, launch

from tests.agents.cases import run_async, run_naive
from tests.agents.conftest import Site
from tests.agents.pages import Case

SCREEN = Screen(900, 600)
Result = TypeVar("Result")


async def all_naive(cases: list[Case], file: str, frames: int, cpu: float) -> list[bool]:
    """Run cases the naive way (`run_naive`); return for each whether it went well."""
    from playwright.async_api import async_playwright

    good = []
    async with async_playwright() as playwright:
        browser = await launch(playwright, extra=("--site-per-process",))
        context = await browser.new_context(**context_options(SCREEN, downloads=True))
        for case in cases:
            with closing(Site()) as site, closing(Site()) as canary:
                good.append(await run_naive(case, context, site, canary, file, frames, cpu))
        await browser.close()
    return good


async def all_async(cases: list[Case], file: str, cpu: float) -> dict[str, list[str]]:
    """Run cases with `AsyncWebPointer`; return what was wrong, by the name of the case."""
    from playwright.async_api import async_playwright

    wrong: dict[str, list[str]] = {}
    async with async_playwright() as playwright:
        browser = await launch(playwright, extra=("--site-per-process",))
        context = await browser.new_context(**context_options(SCREEN, downloads=True))
        for case in cases:
            site, canary = Site(), Site()
            try:
                found = await asyncio.wait_for(
                    run_async(case, context, site, canary, file, cpu), 300
                )
            except Exception as error:
                found = [f"{type(error).__name__}: {error}"]
            finally:
                site.close()
                canary.close()
            if found:
                wrong[case.name] = found
        await browser.close()
    return wrong


def in_thread(work: Coroutine[Any, Any, Result], timeout_s: float) -> Result:
    """Playwright's two faces do not share a thread: this one gets its own, with its own event loop and browser."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result(timeout=timeout_s)
