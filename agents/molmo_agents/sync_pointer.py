"""`WebPointer`: points and clicks on a page of Playwright's synchronous API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molmo_agents.drivers.steps import Steps
from molmo_agents.drivers.sync_driver import SyncDriver
from molmo_agents.face import Face
from molmo_agents.outcome import Outcome

if TYPE_CHECKING:
    from typing_extensions import Self


class WebPointer(Face[Outcome]):
    """Verbs on a page, by description.

    Every verb returns an `Outcome` and never raises for what the page does; a caller's mistake (an empty query, a secret that
    the policy does not have, a closed pointer) raises a `UsageError`.

    Args:
        page: Any Playwright page of a Chromium browser, also one over CDP. The policy's network rules hold for its whole
            browser context: give the agent a context of its own.
        pointer: Anything that points: a model, a server, a fake.
        policy: What may be done; by default only the origin the page is at now, and nothing risky.
        options: Patience and thoroughness.
        journal: Where each step is recorded.

    >>> with WebPointer(page, mp.load("nano"), Policy(origins=("http://127.0.0.1:8000",))) as web:
    ...     outcome = web.click("the Sign in button", expect=Expect(url="/home"))
    ...     print(outcome.status, outcome.effects.navigated)
    delivered True
    """

    _driver: SyncDriver
    _make_driver = SyncDriver

    def _run(self, steps: Steps[Outcome]) -> Outcome:
        """Run the steps of one verb."""
        return self._driver.run(steps)

    def attach(self) -> None:
        """Put the policy in force now; otherwise the first verb does. Closing undoes it."""
        self._driver.run(self._session.open())

    def close(self) -> None:
        """Detach from the page; it stays open. Closing twice is allowed."""
        self._driver.run(self._session.close())

    def __enter__(self) -> Self:
        self.attach()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
