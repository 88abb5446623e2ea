"""`AsyncWebPointer`: points and clicks on a page of Playwright's asynchronous API; the model works in a thread."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from molmo_agents.drivers.async_driver import AsyncDriver
from molmo_agents.drivers.steps import Steps
from molmo_agents.face import Face
from molmo_agents.outcome import Outcome

if TYPE_CHECKING:
    from typing_extensions import Self


class AsyncWebPointer(Face[Awaitable[Outcome]]):
    """Verbs on a page, by description; the model runs in a thread meanwhile.

    Every verb returns an `Outcome` and never raises for what the page does; a caller's mistake (an empty query, a secret that
    the policy does not have, a closed pointer) raises a `UsageError`.

    Args:
        page: Any Playwright page of a Chromium browser, also one over CDP. The policy's network rules hold for its whole
            browser context: give the agent a context of its own.
        pointer: Anything that points: a model, a server, a fake.
        policy: What may be done; by default only the origin the page is at now, and nothing risky.
        options: Patience and thoroughness.
        journal: Where each step is recorded.

    >>> async with AsyncWebPointer(page, mp.connect("tcp://gpu:5555")) as web:
    ...     outcome = await web.click("the Sign in button")
    """

    _driver: AsyncDriver
    _make_driver = AsyncDriver

    def _run(self, steps: Steps[Outcome]) -> Awaitable[Outcome]:
        """Run the steps of one verb."""
        return self._driver.run(steps)

    async def attach(self) -> None:
        """Put the policy in force now; otherwise the first verb does. Closing undoes it."""
        await self._driver.run(self._session.open())

    async def close(self) -> None:
        """Detach from the page; it stays open. Closing twice is allowed."""
        await self._driver.run(self._session.close())

    async def __aenter__(self) -> Self:
        await self.attach()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
