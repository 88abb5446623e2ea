"""What a caller expects of a page after a verb, and whether it came true."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from molmo_agents.browser.documents import WorldLost
from molmo_agents.defaults import EXPECT_TIMEOUT_S
from molmo_agents.drivers.steps import Steps, pause
from molmo_agents.errors import PageGone
from molmo_agents.outcome import Outcome, Status
from molmo_agents.progress import OutcomeBuilder, VerbFailed
from molmo_agents.session import Session
from molmo_agents.target.asking import ask_model, css_points
from molmo_agents.target.screenshot import MAX_FRAMES, take_screenshot


@dataclass(frozen=True)
class Expect:
    """What should be true after a verb; checked for up to `timeout_s` seconds, reported as `Outcome.expectation`.

    Attributes:
        url: Where the page is: one or more whole parts of its path ("shop.html", "/home"), with the host before it or a whole
            address if wanted; `*` stands for anything. What is behind `?` and `#` counts only where the pattern has those signs:
            "/login?next=/shop.html" is not at "shop.html".
        text: Text that the page shows, its frames, shadow roots and fields (passwords excepted) included.
        exists: A query that the model must find.
        timeout_s: How long to wait, seconds.
    """

    url: str = ""
    text: str = ""
    exists: str = ""
    timeout_s: float = EXPECT_TIMEOUT_S


def expected(
    s: Session, p: OutcomeBuilder, outcome: Outcome, expect: Expect | None
) -> Steps[Outcome]:
    """Fill in `expectation`: wait until what the caller expects holds, or its time is up."""
    if expect is None or outcome.status is not Status.DELIVERED:
        return outcome
    end = time.monotonic() + expect.timeout_s
    while True:
        held = yield from _holds(s, p, expect)
        if held or time.monotonic() > end:
            break
        yield from pause(s.page, 0.05)
    message = outcome.message if held else f"what was expected did not happen: {expect}"
    return outcome.with_(expectation=held, message=message)


def _holds(s: Session, p: OutcomeBuilder, expect: Expect) -> Steps[bool]:
    if expect.url and not is_at(s.page.url, expect.url):
        return False
    try:
        if expect.text and not (yield from _shown(s, expect.text)):
            return False
        if expect.exists:
            screenshot = yield from take_screenshot(s)
            css_points(s, screenshot, (yield from ask_model(s, p, screenshot, expect.exists)))
    except (VerbFailed, PageGone):
        return False
    return True


def is_at(address: str, pattern: str) -> bool:
    """Whether `address` is where `pattern` says; see `Expect.url`."""
    wanted, found = _parts(pattern), _parts(address)
    for mark in "?#":
        if wanted[mark] and not re.search(_wild(wanted[mark]), found[mark]):
            return False
    if not wanted[""]:
        return True
    place = _wild(wanted[""].rstrip("/"))
    if "://" in wanted[""]:
        return bool(re.match(place + "(?:/|$)", found[""]))
    return bool(
        re.search(r"(?:^|/)" + place.lstrip("/") + "(?:/|$)", found[""].split("://", 1)[-1])
    )


def _parts(address: str) -> dict[str, str]:
    before, _, fragment = address.partition("#")
    path, _, query = before.partition("?")
    return {"": path, "?": query, "#": fragment}


def _wild(pattern: str) -> str:
    return ".*".join(re.escape(part) for part in pattern.split("*"))


def _shown(s: Session, text: str) -> Steps[bool]:
    """Whether any document of the page shows `text`."""
    waiting = [(yield from s.worlds.main())]
    for _ in range(MAX_FRAMES):
        if not waiting:
            break
        world = waiting.pop(0)
        try:
            if (yield from s.worlds.ask(world, "shows", text)):
                return True
            for index in range(int((yield from s.worlds.ask(world, "framesNow")))):
                child = yield from s.worlds.child(world, f"molmo.inner[{index}]")
                if child is not None:
                    waiting.append(child)
        except WorldLost:
            # A frame that just went away shows nothing any more.
            continue
    return False
