"""browser-use: a tool that clicks by description, with our checks, on the page browser-use is at.

It attaches to the same browser over CDP. browser-use's own coordinate clicks skip its checks for lists, files and printing;
this one does not go through them.
"""

from __future__ import annotations

from typing import Any

from molmo_agents.async_pointer import AsyncWebPointer
from molmo_agents.defaults import CDP_CONNECT_TIMEOUT_S
from molmo_agents.outcome import Outcome
from molmo_agents.policy import Policy
from molmo_point.errors import UsageError
from molmo_point.install import import_failure
from molmo_point.pointer import Pointer

DESCRIPTION = "Click what a description in words says, e.g. 'the blue Sign in button'; it is found in the screenshot."


def register(
    tools: Any, pointer: Pointer, policy: Policy, *, allowed_domains: list[str] | None = None
) -> None:
    """Add the action `click_described(description)` to a browser-use `Tools` (or `Controller`) object."""
    extra = {} if allowed_domains is None else {"allowed_domains": allowed_domains}

    async def click_described(description: str, browser_session: Any) -> str:
        address = str(getattr(browser_session, "cdp_url", "") or "")
        if not address:
            raise UsageError(
                "the browser session has no CDP address: start it before using this tool"
            )
        url = await browser_session.get_current_page_url()
        outcome = await click_over_cdp(address, url, description, pointer, policy)
        return f"{outcome.status}: {outcome.message}".rstrip(": ")

    # browser-use hands over parameters by annotation; it knows its session class by that name.
    session = _session_class()
    if session is not None:
        click_described.__annotations__["browser_session"] = session
    click_described.__annotations__.update(description=str, **{"return": str})
    tools.action(DESCRIPTION, **extra)(click_described)


def _session_class() -> Any:
    try:
        from browser_use import BrowserSession  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    return BrowserSession


async def click_over_cdp(
    address: str, url: str, description: str, pointer: Pointer, policy: Policy
) -> Outcome:
    """Attach to the browser at `address` (http://... or ws://...), click on the page at `url`, detach.

    Raises:
        UsageError: No such page there.
    """
    try:
        from playwright.async_api import async_playwright
    except ImportError as error:
        raise import_failure(error, "playwright", "agents", "driving a browser") from error
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(
            address, timeout=CDP_CONNECT_TIMEOUT_S * 1000
        )
        pages = [page for context in browser.contexts for page in context.pages if page.url == url]
        if not pages:
            raise UsageError(f"the browser at {address} has no page at {url[:200]}")
        async with AsyncWebPointer(pages[0], pointer, policy) as web:
            return await web.click(description)
