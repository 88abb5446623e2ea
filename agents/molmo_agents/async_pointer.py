"""`AsyncWebPointer`: verbs on a page of Playwright's asynchronous API. The twin of `sync_pointer`, over the same steps."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from molmo_agents.drivers.async_driver import AsyncDriver
from molmo_agents.drivers.steps import Steps
from molmo_agents.journal import Journal
from molmo_agents.outcome import Outcome
from molmo_agents.policy import Policy
from molmo_agents.progress import Query
from molmo_agents.screen import Box, Frame
from molmo_agents.session import Options, Session
from molmo_agents.verbs import arguments
from molmo_agents.verbs.expect import Expect
from molmo_point.pointer import Pointer
from molmo_point.points import Point

if TYPE_CHECKING:
    from playwright.async_api import Page
    from typing_extensions import Self


class AsyncWebPointer:
    """Verbs on a page, by description; the model thinks in a thread meanwhile.

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

    def __init__(
        self,
        page: Page | Any,
        pointer: Pointer,
        policy: Policy | None = None,
        options: Options | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._driver = AsyncDriver()
        self._session = Session(
            page, pointer, policy or Policy(), options or Options(), journal, self._driver.handler
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
    def frame(self) -> Frame | None:
        """The latest picture taken, with its mapping into the page."""
        frame: Frame | None = self._session.frame
        return frame

    @property
    def policy(self) -> Policy:
        """The policy in force, its origins filled in."""
        return self._session.policy

    @property
    def popups(self) -> tuple[Any, ...]:
        """Pages that the page opened and the policy let live."""
        return tuple(popup for popup in self._session.watch.popups if not popup.is_closed())

    def on(self, page: Page | Any) -> Self:
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

    async def _run(self, steps: Steps[Outcome]) -> Outcome:
        return await self._driver.run(steps)

    async def attach(self) -> None:
        """Put the policy in force now; otherwise the first verb does. Closing undoes it."""
        await self._driver.run(self._session.open())

    async def close(self) -> None:
        """Let go of the page; it stays open. Closing twice is allowed."""
        await self._driver.run(self._session.close())

    async def __aenter__(self) -> AsyncWebPointer:
        await self.attach()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def goto(self, url: str, *, timeout_s: float = 30.0) -> Outcome:
        """Open an address that the policy allows."""
        return await self._run(arguments.goto(self._session, url, timeout_s))

    async def back(self, *, timeout_s: float = 30.0) -> Outcome:
        """Go to the page before in the tab's history."""
        return await self._run(arguments.back(self._session, timeout_s))

    async def key(self, key: str) -> Outcome:
        """Press a key: Escape, Tab, arrows and the like; Enter and Space press what has the focus, with the checks of a press."""
        return await self._run(arguments.press_key(self._session, key))

    async def look(self, *, region: Box | None = None, scale: float = 1.0) -> Outcome:
        """Take a picture of the viewport, or of a region of it in CSS pixels; it is in `outcome.frame`.

        `scale` is picture pixels per CSS pixel: give the screen's own to see all that a dense screen shows.
        """
        return await self._run(arguments.look(self._session, region, scale))

    async def locate(
        self, query: Query, *, many: bool = False, region: Box | None = None
    ) -> Outcome:
        """Say where it is and what lies there, without touching it; `many` gives every place in `outcome.points`."""
        return await self._run(arguments.locate(self._session, query, many, region))

    async def click(
        self,
        query: Query,
        *,
        button: str = "left",
        count: int = 1,
        expect_name: str | None = None,
        expect: Expect | None = None,
        region: Box | None = None,
    ) -> Outcome:
        """Press what the query describes, or a point (0-1 of the viewport).

        Args:
            query: A few words, or a `Point`.
            button: left, right or middle.
            count: 2 for a double click.
            expect_name: What the element must be called; anything else is not pressed.
            expect: What must be true afterwards; see `Outcome.expectation`.
            region: Look only at this part of the viewport, CSS pixels.
        """
        return await self._run(
            arguments.click(self._session, query, button, count, expect_name, expect, region)
        )

    async def click_all(
        self, query: str, *, expect: Expect | None = None, fixed: bool = False
    ) -> Outcome:
        """Press every place that matches, all from one picture, in the order of the answer.

        The elements seen in the picture are pressed, wherever they are by then; `fixed` presses the places instead.
        """
        return await self._run(arguments.click_all(self._session, query, expect, fixed))

    async def hover(self, query: Query, *, expect_name: str | None = None) -> Outcome:
        """Rest the pointer on it."""
        return await self._run(arguments.hover(self._session, query, expect_name))

    async def type(
        self,
        query: Query,
        text: str | None = None,
        *,
        secret: str | None = None,
        clear: bool = True,
        submit: bool = False,
        expect_name: str | None = None,
        expect: Expect | None = None,
    ) -> Outcome:
        """Type into a field.

        Args:
            query: The field, in words, or a `Point`.
            text: What to type; or
            secret: the name of one of the policy's secrets.
            clear: Replace what the field holds.
            submit: Press Enter afterwards.
            expect_name: What the field must be called.
            expect: What must be true afterwards.
        """
        return await self._run(
            arguments.type_text(
                self._session, query, text, secret, clear, submit, expect_name, expect
            )
        )

    async def select(self, query: Query, options: str | Sequence[str]) -> Outcome:
        """Choose one option of a list, or several where it takes several, by the text it shows."""
        return await self._run(arguments.select(self._session, query, options))

    async def check(self, query: Query, on: bool = True) -> Outcome:
        """Make a checkbox, radio button or switch be on or off."""
        return await self._run(arguments.check(self._session, query, on))

    async def upload(self, query: Query, files: arguments.Paths) -> Outcome:
        """Give files to a file field, or to the file window that a button opens."""
        return await self._run(arguments.upload(self._session, query, files))

    async def drag(self, source: Query, goal: Query) -> Outcome:
        """Drag one thing onto another."""
        return await self._run(arguments.drag(self._session, source, goal))

    async def scroll_to(
        self, query: str, *, max_screens: int = 10, at: Point | None = None
    ) -> Outcome:
        """Scroll down, then up, until it is in view; `at` says over which place to turn the wheel."""
        return await self._run(arguments.scroll_to(self._session, query, max_screens, at))

    async def exists(self, query: str) -> Outcome:
        """Say whether it is in view: status `found` or `absent`."""
        return await self._run(arguments.exists(self._session, query))

    async def wait_for(self, query: str, *, timeout_s: float = 10.0) -> Outcome:
        """Look until it is in view; the model is asked again only when the picture changed."""
        return await self._run(arguments.wait_for(self._session, query, timeout_s))

    async def count(self, query: str, *, region: Box | None = None) -> Outcome:
        """Count by pointing: `outcome.count`."""
        return await self._run(arguments.count(self._session, query, region))
