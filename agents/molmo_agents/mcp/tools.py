"""The tools: each takes a client's browser and the client's words, and returns an `Outcome`. `server` makes them the SDK's."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from molmo_agents.defaults import WAIT_FOR_TIMEOUT_S
from molmo_agents.mcp.browsers import BrowserHolder
from molmo_agents.outcome import Outcome
from molmo_agents.verbs.table import TABLE

Tool = Callable[..., Awaitable[Outcome]]


async def point(holder: BrowserHolder, description: str) -> Outcome:
    """Say whether something is in view and what it is, without touching it."""
    return await (await holder.web()).locate(description)


async def count(holder: BrowserHolder, description: str) -> Outcome:
    """Count what is in view."""
    return await (await holder.web()).count(description)


async def exists(holder: BrowserHolder, description: str) -> Outcome:
    """Say whether something is in view: found or absent."""
    return await (await holder.web()).exists(description)


async def wait_for(
    holder: BrowserHolder, description: str, timeout_s: float = WAIT_FOR_TIMEOUT_S
) -> Outcome:
    """Look until something is in view, for at most `seconds` (up to 60)."""
    return await (await holder.web()).wait_for(description, timeout_s=min(timeout_s, 60.0))


async def open_page(holder: BrowserHolder, url: str) -> Outcome:
    """Open an address that the policy allows."""
    return await (await holder.web()).goto(url)


async def back(holder: BrowserHolder) -> Outcome:
    """Go to the page before."""
    return await (await holder.web()).back()


async def click(
    holder: BrowserHolder,
    description: str,
    expected_name: str = "",
    button: str = "left",
    double: bool = False,
) -> Outcome:
    """Click what the description says; with expected_name, only if the element is called so. button: left, right, middle."""
    return await (await holder.web()).click(
        description, expect_name=expected_name or None, button=button, count=2 if double else 1
    )


async def hover(holder: BrowserHolder, description: str) -> Outcome:
    """Rest the pointer on something."""
    return await (await holder.web()).hover(description)


async def type_text(
    holder: BrowserHolder, description: str, text: str, submit: bool = False, clear: bool = True
) -> Outcome:
    """Type into the field that the description says; submit presses Enter; clear=false adds to what is there."""
    return await (await holder.web()).type(description, text, submit=submit, clear=clear)


async def type_secret(
    holder: BrowserHolder, description: str, secret: str, submit: bool = False
) -> Outcome:
    """Type a secret by its name (see the tool policy) into a field; its value is never shown."""
    return await (await holder.web()).type(description, secret=secret, submit=submit)


async def press_key(holder: BrowserHolder, key: str) -> Outcome:
    """Press a key: Escape, Tab, Shift+Tab, arrows, Home, End, PageUp, PageDown, Backspace, Delete, Enter, Space."""
    return await (await holder.web()).key(key)


async def select(holder: BrowserHolder, description: str, option: str) -> Outcome:
    """Choose an option of a list by the text it shows."""
    return await (await holder.web()).select(description, option)


async def check(holder: BrowserHolder, description: str, on: bool = True) -> Outcome:
    """Make a checkbox, radio button or switch be on or off."""
    return await (await holder.web()).check(description, on)


async def upload(holder: BrowserHolder, description: str, file: str) -> Outcome:
    """Give a file of the server's folder, by its name, to a file field or to the button that opens its window."""
    path = holder.file(file)
    return await (await holder.web()).upload(description, path)


async def drag(holder: BrowserHolder, description: str, to: str) -> Outcome:
    """Drag one thing onto another; both are descriptions."""
    return await (await holder.web()).drag(description, to)


async def scroll_to(holder: BrowserHolder, description: str) -> Outcome:
    """Scroll until something is in view."""
    return await (await holder.web()).scroll_to(description)


async def switch_tab(holder: BrowserHolder, number: int) -> Outcome:
    """Go on in another window, by its number in the tool tabs, from 1."""
    return await (await holder.switch(number)).look()


TOOLS: dict[Tool, str] = {
    point: "locate",
    count: "count",
    exists: "exists",
    wait_for: "wait_for",
    open_page: "goto",
    back: "back",
    click: "click",
    hover: "hover",
    type_text: "type",
    type_secret: "type",
    press_key: "key",
    select: "select",
    check: "check",
    upload: "upload",
    drag: "drag",
    scroll_to: "scroll_to",
}
"""The tools with words of their own, and their verbs."""

PLAIN = frozenset([str, bool, int, float])
"""Types that a client can give."""


def tool_of(name: str) -> Tool:
    """Make a tool of a verb that has none: its plain parameters, a query being a description."""
    verb = TABLE[name]
    taken = {p.name: p for p in verb.parameters if p.annotation in PLAIN or p.name == "query"}
    called = {"query": "description"}

    async def tool(holder: BrowserHolder, **arguments: Any) -> Outcome:
        given = {own: arguments[called.get(own, own)] for own in taken}
        done: Outcome = await getattr(await holder.web(), name)(**given)
        return done

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = [inspect.Parameter("holder", kind, annotation=BrowserHolder)]
    for parameter in taken.values():
        words = parameter.name == "query"
        own.append(
            parameter.replace(
                name=called.get(parameter.name, parameter.name),
                kind=kind,
                annotation=str if words else parameter.annotation,
            )
        )
    tool.__name__, tool.__doc__ = name, (verb.function.__doc__ or "").split("\n", 1)[0]
    tool.__signature__ = inspect.Signature(own, return_annotation=Outcome)  # type: ignore[attr-defined]
    tool.__annotations__ = {p.name: p.annotation for p in own} | {"return": Outcome}
    return tool


def verb_tools() -> list[tuple[Tool, bool]]:
    """Return a tool for every verb, and whether it only reads; a screenshot is answered in another way (`look`)."""
    found: list[tuple[Tool, bool]] = [(tool, TABLE[v].read_only) for tool, v in TOOLS.items()]
    missing = [name for name in TABLE if name not in {*TOOLS.values(), "look"}]
    found += [(tool_of(name), TABLE[name].read_only) for name in missing]
    return [*found, (switch_tab, False)]


OPENING = frozenset(["open_page"])
"""Tools that may begin a session."""
