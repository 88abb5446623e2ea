"""Find which relay a page's connections go through, and say what the policy cannot enforce where there is none."""

from __future__ import annotations

from contextlib import suppress

from molmo_agents.browser.relay import SIGN, Relay, find
from molmo_agents.defaults import REACH_TIMEOUT_S
from molmo_agents.drivers.steps import Steps, call
from molmo_agents.playwright_types import CdpSession, Page
from molmo_agents.policy import Rules

FOREIGN = (
    "the browser was not started with molmo_agents.browser.launch.launch_arguments() or context_options() of this process: "
    "WebRTC, preconnects, and speculation rules in shadow roots or other windows are not held"
)
SHARED = (
    "another context of the browser shares its connections, so they are not held: make the agent's own context with "
    "browser.new_context(**context_options(screen))"
)


class Reach:
    """The policy at the relay of one page.

    Attributes:
        unheld: Why the policy does not hold beneath the page, with the remedy; "" where it does.
    """

    def __init__(self, page: Page, rules: Rules) -> None:
        self._page = page
        self._rules = rules
        self._relay: Relay | None = None
        self.unheld = ""

    def open(self, session: CdpSession) -> Steps[None]:
        """Find the page's relay over its CDP session, and hold the policy there."""
        self.unheld = ""
        found = yield from relay_of(session)
        if found is None:
            self.unheld = FOREIGN
        elif found.shared and (yield from self._others(found)):
            self.unheld = SHARED
        else:
            found.arm(self._rules)
            self._relay = found
            self._page.context.on("close", self.close)
            if not found.shared and not found.bound:
                found.bound = True
                self._page.context.on("close", lambda *_: found.close())

    def close(self, *_: object) -> None:
        """Take the policy back."""
        if self._relay is not None:
            self._relay.disarm(self._rules)
            self._relay = None
            with suppress(Exception):
                self._page.context.remove_listener("close", self.close)

    def _others(self, found: Relay) -> Steps[bool]:
        """Whether a page of another context goes through the same relay."""
        context = self._page.context
        contexts = [] if context.browser is None else context.browser.contexts
        for other in contexts:
            if other == context or not other.pages:
                continue
            with suppress(Exception):
                session = yield from call(other, "new_cdp_session", other.pages[0])
                same = (yield from relay_of(session)) is found
                yield from call(session, "detach", timeout_s=REACH_TIMEOUT_S)
                if same:
                    return True
        return False


def relay_of(session: CdpSession) -> Steps[Relay | None]:
    """Return the relay of this process that a page's connections go through, or None.

    The browser loads the address that only a relay answers; what it says tells which relay that was.
    """
    try:
        tree = yield from call(session, "send", "Page.getFrameTree", timeout_s=REACH_TIMEOUT_S)
        asked = {
            "frameId": tree["frameTree"]["frame"]["id"],
            "url": f"http://{SIGN}/",
            "options": {"disableCache": True, "includeCredentials": False},
        }
        answer = yield from call(
            session, "send", "Network.loadNetworkResource", asked, timeout_s=REACH_TIMEOUT_S
        )
        stream = {"handle": answer["resource"]["stream"]}
        said = yield from call(session, "send", "IO.read", stream, timeout_s=REACH_TIMEOUT_S)
        yield from call(session, "send", "IO.close", stream, timeout_s=REACH_TIMEOUT_S)
        return find(str(said["data"]))
    except Exception:
        # A name that exists nowhere, a page that does not answer, a browser without the command: nothing is known to be held.
        return None
