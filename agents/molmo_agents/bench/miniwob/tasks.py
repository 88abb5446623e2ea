"""How each task is played with the verbs of a `WebPointer`: what to ask for, in words that a model can understand.

Tier A: one point, named in the task. Tier B: some, then Submit. Tier C: in order, or after opening something.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from molmo_agents.sync_pointer import WebPointer

Play = Callable[[WebPointer, str], None]


def _quoted(said: str) -> str:
    found = re.search(r'"(.+?)"', said)
    return found.group(1) if found else said


def _one(make: Callable[[str], str]) -> Play:
    def play(web: WebPointer, said: str) -> None:
        web.click(make(said))

    return play


def _listed(said: str) -> list[str]:
    """The names between "Select" and "and click Submit".

    >>> _listed("Select a, b c and click Submit.")
    ['a', 'b c']
    """
    inner = re.sub(r"^Select | and (?:click|press) Submit\.?$", "", said)
    return [] if inner == "nothing" else [name.strip() for name in inner.split(",")]


def _boxes(web: WebPointer, said: str) -> None:
    for name in _listed(said):
        web.click(f'the box "{name}"')
    web.click('the "Submit" button')


def _shades(web: WebPointer, said: str) -> None:
    found = re.search(r"shades of (\w+)", said)
    web.click_all(f"every shade of {found.group(1) if found else 'grey'}")
    web.click('the "Submit" button')


def _in_turn(web: WebPointer, said: str) -> None:
    first = web.click('the "ONE" button')
    wait = re.search(r"wait (\d+) second", said)
    if wait:
        # From press to press: what the first click took after its press is over, and before its own the second takes as long.
        spent = first.timings.get("total", 0.0) - first.timings.get("press", 0.0)
        web.page.wait_for_timeout(1000 * max(0.0, int(wait.group(1)) - spent))
    web.click('the "TWO" button')


def _ascending(web: WebPointer, said: str) -> None:
    # After the first press the numbers are gone and blank boxes stand in their places.
    web.click_all("the numbers in ascending order", fixed=True)


def _collapsible(web: WebPointer, said: str) -> None:
    web.click("the header of the collapsed section")
    web.wait_for('the "Submit" button', timeout_s=3.0)
    web.click('the "Submit" button')


def _menu(web: WebPointer, said: str) -> None:
    *parents, last = said.removeprefix("Select ").split(">")
    for name in parents:
        # A press on a parent ends the episode: it opens on hover.
        web.wait_for(f'the menu entry "{name}"', timeout_s=3.0)
        web.hover(f'the menu entry "{name}"')
    web.wait_for(f'the menu entry "{last}"', timeout_s=3.0)
    web.click(f'the menu entry "{last}"')


def _tabs(web: WebPointer, said: str) -> None:
    link = f'the link "{_quoted(said)}"'
    for number in (1, 2, 3):
        if web.exists(link).ok:
            break
        web.click(f'the tab "Tab #{number}"')
    web.click(link)


def _date(web: WebPointer, said: str) -> None:
    day = re.search(r"\d+/(\d+)/\d+", said)
    web.click("the date field")
    web.wait_for("the calendar", timeout_s=3.0)
    web.click(f'the day "{int(day.group(1)) if day else 1}"')
    web.click('the "Submit" button')


def _tree(web: WebPointer, said: str) -> None:
    entry = f'the folder or file "{_quoted(said)}"'
    for _ in range(12):
        if web.exists(entry).ok:
            break
        web.click("the plus sign of the first closed folder")
        web.page.wait_for_timeout(50)
    web.click(entry)


TASKS: dict[str, Play] = {
    "click-test": _one(lambda said: "the button"),
    "click-button": _one(lambda said: f'the "{_quoted(said)}" button'),
    "click-color": _one(lambda said: f"the {said.split()[3]} colored box"),
    "click-dialog": _one(lambda said: 'the "x" that closes the dialog'),
    "click-link": _one(lambda said: f'the link "{_quoted(said)}"'),
    "click-tab": _one(lambda said: f'the tab "{said.removeprefix("Click on ").rstrip(".")}"'),
    "focus-text": _one(lambda said: "the text field"),
    "click-widget": _one(lambda said: f"a {_quoted(said)} widget"),
    "click-option": _boxes,
    "click-checkboxes": _boxes,
    "click-shades": _shades,
    "click-button-sequence": _in_turn,
    "button-delay": _in_turn,
    "ascending-numbers": _ascending,
    "click-collapsible": _collapsible,
    "click-menu": _menu,
    "click-tab-2": _tabs,
    "choose-date-easy": _date,
    "navigate-tree": _tree,
}

TIERS: dict[str, tuple[str, ...]] = {
    "A": tuple(TASKS)[:8],
    "B": tuple(TASKS)[8:11],
    "C": tuple(TASKS)[11:],
}
