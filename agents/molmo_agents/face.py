"""What `WebPointer` and `AsyncWebPointer` share: the verbs, and what they say of the page, the policy and the windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from molmo_agents.journal import Journal
from molmo_agents.policy import Policy
from molmo_agents.screen import Screenshot
from molmo_agents.session import Options, Session
from molmo_agents.verbs.table import NAMES, Verbs
from molmo_point.pointer import Pointer

if TYPE_CHECKING:
    from typing_extensions import Self

    from molmo_agents.drivers.async_driver import AsyncDriver
    from molmo_agents.drivers.sync_driver import SyncDriver

R = TypeVar("R")


class Face(Verbs[R]):
    """A page, what points, and the policy between them."""

    _make_driver: Callable[[], SyncDriver | AsyncDriver]

    def __init__(
        self,
        page: Any,
        pointer: Pointer,
        policy: Policy | None = None,
        options: Options | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._driver = type(self)._make_driver()
        self._session = Session(
            page,
            pointer,
            policy or Policy(),
            options or Options(),
            journal,
            self._driver.handler,
            NAMES,
        )
        self._driver.waiting = lambda: self._session.watch.asking > 0

    @property
    def page(self) -> Any:
        """The Playwright page."""
        return self._session.page

    def masked(self, text: str) -> str:
        """Return `text` without the policy's secrets and typed passwords."""
        return self._session.masker.text(text)

    @property
    def screenshot(self) -> Screenshot | None:
        """The latest screenshot taken, with its mapping into the page."""
        return self._session.screenshot

    @property
    def policy(self) -> Policy:
        """The policy in force, its origins filled in."""
        return self._session.policy

    @property
    def popups(self) -> tuple[Any, ...]:
        """Pages that the page opened and the policy let live."""
        return tuple(popup for popup in self._session.watch.popups if not popup.is_closed())

    def on(self, page: Any) -> Self:
        """Return a pointer on another window, such as one of `popups`, with the same policy, budgets and journal.

        Each pointer is closed by itself.
        """
        mine = self._session
        other = type(self)(page, mine.pointer, mine.policy, mine.options, mine.journal)
        other._session.join(mine)
        return other

    @property
    def blocked_requests(self) -> int:
        """How many requests the policy stopped so far."""
        return self._session.gate.total_blocked

    @property
    def unheld(self) -> str:
        """Why connections that the browser makes beneath the page are not held to the policy, or ""; known once attached."""
        return self._session.gate.unheld
