"""The tools themselves. Each takes a desk and the caller's words, and returns an `Outcome`; `mcp_server` makes them the SDK's."""

from __future__ import annotations

from molmo_agents.mcp.browsers import Desk
from molmo_agents.outcome import Outcome


async def point(desk: Desk, description: str) -> Outcome:
    """Say whether something is in view and what it is, without touching it."""
    return await (await desk.web()).locate(description)


async def count(desk: Desk, description: str) -> Outcome:
    """Count what is in view."""
    return await (await desk.web()).count(description)


async def exists(desk: Desk, description: str) -> Outcome:
    """Say whether something is in view: found or absent."""
    return await (await desk.web()).exists(description)


async def wait_for(desk: Desk, description: str, timeout_s: float = 10.0) -> Outcome:
    """Look until something is in view, at most so many seconds (up to 60)."""
    return await (await desk.web()).wait_for(description, timeout_s=min(timeout_s, 60.0))


async def open_page(desk: Desk, url: str) -> Outcome:
    """Open an address that the policy allows."""
    return await (await desk.web()).goto(url)


async def back(desk: Desk) -> Outcome:
    """Go to the page before."""
    return await (await desk.web()).back()


async def click(
    desk: Desk,
    description: str,
    expected_name: str = "",
    button: str = "left",
    double: bool = False,
) -> Outcome:
    """Click what the description says; with expected_name, only if the element is called so. button: left, right, middle."""
    return await (await desk.web()).click(
        description, expect_name=expected_name or None, button=button, count=2 if double else 1
    )


async def hover(desk: Desk, description: str) -> Outcome:
    """Rest the pointer on something."""
    return await (await desk.web()).hover(description)


async def type_text(
    desk: Desk, description: str, text: str, submit: bool = False, clear: bool = True
) -> Outcome:
    """Type into the field that the description says; submit presses Enter; clear=false adds to what is there."""
    return await (await desk.web()).type(description, text, submit=submit, clear=clear)


async def type_secret(desk: Desk, description: str, secret: str, submit: bool = False) -> Outcome:
    """Type a secret by its name (see the tool policy) into a field; its value is never shown."""
    return await (await desk.web()).type(description, secret=secret, submit=submit)


async def press_key(desk: Desk, key: str) -> Outcome:
    """Press a key: Escape, Tab, Shift+Tab, arrows, Home, End, PageUp, PageDown, Backspace, Delete, Enter, Space."""
    return await (await desk.web()).key(key)


async def select(desk: Desk, description: str, option: str) -> Outcome:
    """Choose an option of a list by the text it shows."""
    return await (await desk.web()).select(description, option)


async def check(desk: Desk, description: str, on: bool = True) -> Outcome:
    """Make a checkbox, radio button or switch be on or off."""
    return await (await desk.web()).check(description, on)


async def upload(desk: Desk, description: str, file: str) -> Outcome:
    """Give a file of the server's folder, by its name, to a file field or to the button that opens its window."""
    path = desk.file(file)
    return await (await desk.web()).upload(description, path)


async def drag(desk: Desk, description: str, to: str) -> Outcome:
    """Drag one thing onto another; both are descriptions."""
    return await (await desk.web()).drag(description, to)


async def scroll_to(desk: Desk, description: str) -> Outcome:
    """Scroll until something is in view."""
    return await (await desk.web()).scroll_to(description)


async def switch_tab(desk: Desk, number: int) -> Outcome:
    """Go on in another window, by its number in the tool tabs, from 1."""
    return await (await desk.switch(number)).look()


READING = (point, count, exists, wait_for)
ACTING = (
    open_page,
    back,
    click,
    hover,
    type_text,
    type_secret,
    press_key,
    select,
    check,
    upload,
    drag,
    scroll_to,
    switch_tab,
)
OPENING = frozenset(["open_page"])
"""Tools that may begin a session."""
