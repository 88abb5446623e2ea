"""Web pages from a seed that no model was trained on, each with its own record of what was pressed: to measure a pointer with.

Made of HTML and laid out by the browser; names are unique on a page, so every question has one answer, or none.
"""

from __future__ import annotations

import html
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from molmo_agents.outcome import Status
from molmo_agents.sync_pointer import WebPointer
from molmo_point.testing import FakePointer

_NAMES = (
    "Anchor Basil Cobalt Dune Ember Fjord Glacier Harbor Indigo Juniper Kelp Lantern Marble Nectar Opal Pebble Quartz Raven"
    " Saffron Thistle Umber Velvet Willow Xenon Yarrow Zephyr"
)
_DOINGS = "Open Show Edit Compare Archive Export Import Sync Rename Pin Preview Restore"
_LOOKS = (
    ("#ffffff", "#1c1e21", "#1a5fd0", "#ffffff", "6px"),
    ("#f4f1ea", "#2b2420", "#8a3b12", "#fff6e8", "0"),
    ("#14181f", "#e6e9ef", "#3ec28f", "#08120d", "14px"),
    ("#fbfbfd", "#333344", "#e9e9ef", "#222230", "3px"),
)
"""Page, text, button, text on a button, corners."""

_RECORD = """<script>window.pressed = [];
addEventListener('click', (e) => { const hit = e.composedPath().find((n) => n.dataset && n.dataset.id);
  pressed.push(hit ? hit.dataset.id : '-'); e.preventDefault(); }, true);</script>"""


@dataclass(frozen=True)
class Question:
    """What is asked for, and the `data-id` of the one right answer; None where nothing matches."""

    query: str
    answer: str | None


@dataclass(frozen=True)
class Mockup:
    """A page and the questions about it."""

    html: str
    questions: tuple[Question, ...]


def draw_mockup(seed: int) -> Mockup:
    """Make the page of a seed; the same seed makes the same page."""
    rng = random.Random(seed)
    back, ink, button, on_button, corners = rng.choice(_LOOKS)
    names = [f"{doing} {name}" for doing in _DOINGS.split() for name in _NAMES.split()]
    rng.shuffle(names)
    labels = iter(names)
    questions: list[Question] = []

    def control(kind: str) -> str:
        label = next(labels)
        key = f"k{len(questions)}"
        questions.append(Question(f'the "{label}" {kind}', key))
        text, mark = html.escape(label), f"data-id={key}"
        if kind == "button":
            return f"<button {mark}>{text}</button>"
        if kind == "link":
            return f"<a href='#' {mark}>{text}</a>"
        if kind == "checkbox":
            return f"<label {mark}><input type=checkbox> {text}</label>"
        return f"<label {mark}>{text}<br><input size=14></label>"

    rows = [_ROWS[rng.randrange(len(_ROWS))](control) for _ in range(rng.randint(2, 3))]
    style = (
        f"body{{margin:10px;font:{rng.choice((13, 14, 16))}px {rng.choice(('sans-serif', 'serif', 'monospace'))};"
        f"background:{back};color:{ink}}}button{{font:inherit;padding:5px 10px;border:1px solid {ink}44;"
        f"border-radius:{corners};background:{button};color:{on_button}}}a{{color:{ink}}}"
        f"div{{margin:0 0 12px}}div>*{{margin-right:12px}}label{{display:inline-block}}"
    )
    absent = Question(f'the "{next(labels)}" button', None)
    page = (
        f"<!doctype html><meta charset=utf-8>{_RECORD}<style>{style}</style>"
        f"<title>{seed}</title>{''.join(rows)}"
    )
    return Mockup(page, (*questions, absent))


_ROWS: tuple[Callable[[Callable[[str], str]], str], ...] = (
    lambda c: f"<div>{c('link')}{c('link')}</div>",
    lambda c: f"<div>{c('button')}{c('button')}</div>",
    lambda c: f"<div>{c('field')}{c('button')}</div>",
    lambda c: f"<div>{c('checkbox')}<br>{c('checkbox')}</div>",
    lambda c: f"<div><b>Details</b><br>Some words that name nothing. {c('link')}</div>",
)


@dataclass(frozen=True)
class Trial:
    """One question asked on a page.

    Attributes:
        seed: The page's.
        query: What was asked for.
        present: Whether it was there.
        right: The very thing was pressed; or nothing was, where nothing matches.
        wrong: Something else was pressed.
        status: The outcome's status.
    """

    seed: int
    query: str
    present: bool
    right: bool
    wrong: bool
    status: str


def play_mockups(
    web: WebPointer,
    origin: str,
    seeds: Iterable[int],
    press: Callable[[WebPointer, str], Any] | None = None,
) -> Iterator[Trial]:
    """Ask one thing that is there and one that is not on the page of each seed, and press it.

    Args:
        web: Its policy must allow `origin`.
        origin: Where `mockup_page` is served.
        seeds: The pages.
        press: How to press what a query says; None is `web.click`.
    """
    for seed in seeds:
        *there, absent = draw_mockup(seed).questions
        for question in (random.Random(seed).choice(there), absent):
            web.goto(f"{origin}/{seed}")
            outcome = (press or (lambda w, query: w.click(query)))(web, question.query)
            pressed = web.page.evaluate("() => window.pressed.filter((id) => id !== '-')")
            # A press on a label is followed by one on its control: the same answer, twice.
            hit = set(pressed)
            right = hit == {question.answer} if question.answer else not hit
            wrong = bool(hit - {question.answer})
            status = str(getattr(outcome, "status", Status.DELIVERED))
            yield Trial(seed, question.query, question.answer is not None, right, wrong, status)


def mockup_page(path: str) -> str | None:
    """Return the page at "/SEED", for `loopback.serve_html`."""
    seed = path.strip("/")
    return draw_mockup(int(seed)).html if seed.isdigit() else None


def mockup_oracle() -> tuple[FakePointer, Callable[[WebPointer], None]]:
    """Return a pointer that reads the page instead of its screenshot, and the call that gives it its `WebPointer`."""
    holder: list[WebPointer] = []
    find = """(label) => [...document.querySelectorAll('[data-id]')].filter((e) => e.innerText.trim() === label)
        .map((e) => (e.querySelector('input') || e).getBoundingClientRect())
        .map((r) => [r.left + r.width / 2, r.top + r.height / 2])"""

    def answer(image: Any, query: str) -> list[tuple[float, float]]:
        web = holder[0]
        if web.screenshot is None:
            return []
        places = web.page.evaluate(find, query.split('"')[1])
        norm = [web.screenshot.to_norm(x, y) for x, y in places]
        return [(x, y) for x, y in norm if 0 <= x <= 1 and 0 <= y <= 1]

    return FakePointer(answer), holder.append
