"""Run one adversarial page, with either face, and compare everything with the page's own record of the truth."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from molmo_agents import AsyncWebPointer, Confirmation, Options, Outcome, Policy, WebPointer

from molmo_point.images import load_image
from molmo_point.testing import FakePointer
from tests.agents.conftest import Reply, Site
from tests.agents.oracle import FIND, HELPER, MAGENTA, Oracle, magenta, to_norm
from tests.agents.pages import Case


def fill(value: Any, site: Site, canary: Site, file: str) -> Any:
    """Put this run's addresses into a page."""
    if isinstance(value, str):
        for name, text in (
            ("site", site.url),
            ("other", site.other_url),
            ("evil", canary.url),
            ("helper", HELPER),
            ("file", file),
        ):
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, (tuple, list)):
        return type(value)(fill(item, site, canary, file) for item in value)
    if isinstance(value, dict):
        return {key: fill(item, site, canary, file) for key, item in value.items()}
    return value


def slow(body: str) -> Any:
    def reply(path: str) -> Reply:
        time.sleep(0.3)
        return 200, {"Content-Type": "text/html"}, body.encode()

    return reply


def install(case: Case, site: Site, canary: Site, file: str) -> None:
    """Put the case's pages on the server."""
    site.routes["/case"] = HELPER + "<body>" + fill(case.html, site, canary, file)
    for path, route in fill(case.routes, site, canary, file).items():
        if isinstance(route, str) and route.startswith("{slow}"):
            route = slow(route.removeprefix("{slow}"))
        site.routes[path] = route


def missing(case: Case, site: Site) -> list[str]:
    """What should have been asked of the server and was not yet."""
    return [request for request in case.requests if request not in site.log]


def judge(case: Case, outcome: Outcome, truth: Any, site: Site, canary: Site) -> list[str]:
    """Everything that is not as it must be, in words; empty when all is well."""
    wrong: list[str] = []
    if outcome.status.value != case.status:
        wrong.append(f"status {outcome.status}, expected {case.status}: {outcome.message}")
    if case.truth and truth is not True:
        wrong.append(f"not true on the page: {case.truth} (got {truth!r})")
    if canary.log:
        wrong.append(f"forbidden requests: {canary.log}")
    wrong += [f"no request {r}" for r in missing(case, site)]
    wrong += [f"request {r}" for r in case.unrequested if r in site.log]
    seen = outcome.effects
    for name, wanted in case.effects.items():
        got: Any = getattr(seen, name)
        if name == "dialogs":
            got = [dialog.kind for dialog in got]
        if name == "popups":
            got = len(got)
        if isinstance(got, tuple):
            got = list(got)
        if got != wanted:
            wrong.append(f"effects.{name} is {got!r}, expected {wanted!r}")
    if (
        (outcome.status.value == "delivered") != outcome.delivered
        and outcome.status.value not in ("blocked_origin", "found")
        and case.verb != "check"
    ):
        wrong.append(f"status {outcome.status} with delivered={outcome.delivered}")
    return wrong


def policy_of(case: Case, site: Site, canary: Site, confirm: Any) -> Policy:
    return Policy(
        origins=(site.url,),
        resources=tuple(fill(case.resources, site, canary, "")),
        confirm=confirm if case.risks is not None else None,
    )


OPTIONS = Options(
    zoom=False, answer_s=60.0, settle_requests_s=30.0, settle_load_s=30.0, point_timeout_s=None
)
"""Patient: waits end by their condition, so a busy machine makes the tests slow, not red."""


TRUTH_WAITS = (60, 100, 300, 1000, 3000)
"""Milliseconds until the records of page and server are read, again where a busy machine has not come to it yet."""


def run_sync(
    case: Case, context: Any, site: Site, canary: Site, file: str, cpu: float = 1.0
) -> list[str]:
    """Run a case with `WebPointer`; return what was wrong."""
    install(case, site, canary, file)
    think = fill(case.think, site, canary, file)
    page = context.new_page()
    oracle = Oracle(page, lambda n: page.evaluate(think) if n == 1 and think else None)

    def confirm(question: Confirmation) -> bool:
        if case.on_ask:
            page.evaluate(case.on_ask)
        return question.risks <= frozenset(case.risks or ())

    web = WebPointer(page, oracle.pointer, policy_of(case, site, canary, confirm), OPTIONS)
    oracle.web = web
    with web:
        if cpu > 1:
            context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": cpu})
        opened = web.goto(site.url + "/case", timeout_s=60)
        assert opened.ok, opened
        outcome = getattr(web, case.verb)(*fill(case.args, site, canary, file), **case.kwargs)
        for wait in TRUTH_WAITS:
            page.wait_for_timeout(wait)
            truth = page.evaluate(case.truth) if case.truth else True
            if truth is True and not missing(case, site):
                break
    for other in context.pages:
        other.close(run_before_unload=False)
    return judge(case, outcome, truth, site, canary)


NAIVE_S = 60.0
"""A page that starves a bare mouse command of its answer for so long has beaten the naive way, too."""


async def run_naive(
    case: Case, context: Any, site: Site, canary: Site, file: str, frames: int, cpu: float
) -> bool:
    """Click as a naive agent does, after a fixed number of frames of hovering; return whether the page got what it should.

    The place is that of the screenshot, as it was before `think`; there is no second look, no hit test, no condition.
    """
    install(case, site, canary, file)
    page = await context.new_page()
    await page.goto(site.url + "/case")
    session = await context.new_cdp_session(page)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": cpu})
    image = load_image(await page.screenshot(scale="css"))
    query = str(case.args[0])
    height, width, _ = image.shape
    places = (
        [[x * width, y * height] for x, y in magenta(image)]
        if query == MAGENTA
        else await places_on(page, query)
    )
    think = fill(case.think, site, canary, file)
    try:
        pressed = _press_blindly(page, places, frames, think, case.truth)
        good = await asyncio.wait_for(pressed, NAIVE_S)
    except Exception:
        # The page it was to stay on is gone, or answers nobody.
        good = False
    return good and not canary.log


async def _press_blindly(
    page: Any, places: list[list[float]], frames: int, think: str, truth: str
) -> bool:
    if think:
        await page.evaluate(think)
    if places:
        await page.mouse.move(*places[0])
        if frames:
            await page.evaluate(
                "(n) => new Promise((f) => { const g = () => (n-- > 0 ? requestAnimationFrame(g) : f()); g(); })",
                frames,
            )
        await page.mouse.down()
        await page.mouse.up()
    await page.wait_for_timeout(60)
    return bool(await page.evaluate(truth)) if truth else True


async def places_on(page: Any, query: str) -> list[list[float]]:
    """Ask the page and its frames where something is, in CSS px of the viewport."""
    found = list(await page.main_frame.evaluate(FIND, query))
    for frame in page.frames[1:]:
        try:
            inner = await frame.evaluate(FIND, query)
            if inner:
                owner = await frame.frame_element()
                x, y = await owner.evaluate(
                    "(e) => { const r = e.getBoundingClientRect(); return [r.left + e.clientLeft, r.top + e.clientTop] }"
                )
                found += [[x + px, y + py] for px, py in inner]
        except Exception:
            continue
    return found


async def run_async(
    case: Case, context: Any, site: Site, canary: Site, file: str, cpu: float = 1.0
) -> list[str]:
    """Run a case with `AsyncWebPointer`; return what was wrong."""
    install(case, site, canary, file)
    think = fill(case.think, site, canary, file)
    page = await context.new_page()
    loop = asyncio.get_running_loop()
    asked = 0
    holder: dict[str, Any] = {}

    async def places(query: str) -> list[list[float]]:
        nonlocal asked
        found = await places_on(page, query)
        asked += 1
        norm = to_norm(holder["web"], found)
        if asked == 1 and think:
            await page.evaluate(think)
        return norm

    def answer(image: Any, query: str) -> list[tuple[float, float]]:
        if query == MAGENTA:
            return magenta(image)
        return asyncio.run_coroutine_threadsafe(places(query), loop).result(timeout=30)

    async def confirm(question: Confirmation) -> bool:
        if case.on_ask:
            await page.evaluate(case.on_ask)
        return question.risks <= frozenset(case.risks or ())

    async with AsyncWebPointer(
        page, FakePointer(answer), policy_of(case, site, canary, confirm), OPTIONS
    ) as web:
        holder["web"] = web
        if cpu > 1:
            session = await context.new_cdp_session(page)
            await session.send("Emulation.setCPUThrottlingRate", {"rate": cpu})
        opened = await web.goto(site.url + "/case", timeout_s=60)
        assert opened.ok, opened
        outcome = await getattr(web, case.verb)(
            *fill(case.args, site, canary, file), **case.kwargs
        )
        for wait in TRUTH_WAITS:
            await page.wait_for_timeout(wait)
            truth = await page.evaluate(case.truth) if case.truth else True
            if truth is True and not missing(case, site):
                break
    for other in context.pages:
        await other.close(run_before_unload=False)
    return judge(case, outcome, truth, site, canary)


def note_file(folder: Path) -> str:
    path = folder / "note.txt"
    path.write_text("hello")
    return str(path)
