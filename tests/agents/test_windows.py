"""Pages that ask, hang, open windows and want keys."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from molmo_agents import Confirmation, Options, Policy, WebPointer, allow_risks
from molmo_agents.drivers.async_driver import patiently

from molmo_point.errors import UsageError
from molmo_point.testing import FakePointer
from tests.agents.conftest import Site
from tests.agents.test_commands import _in_thread

AT = FakePointer(lambda image, query: [(0.05, 0.05)])
PLACE = "style='position:fixed;left:0;top:0;width:100px;height:60px'"


def button(script: str, text: str = "Go", rest: str = "") -> str:
    return f'<!doctype html><button {PLACE} {rest} onclick="{script}">{text}</button>'


def opened(page: Any, site: Site, html: str, **policy: Any) -> WebPointer:
    site.routes["/"] = html
    options = Options(zoom=False, settle_load_s=1.0)
    web = WebPointer(page, AT, Policy(**{"origins": (site.url,), **policy}), options)
    assert web.goto(site.url + "/").ok
    return web


@pytest.mark.browser
def test_dialogs_are_answered_by_the_callback(page: Any, site: Site) -> None:
    """A yes to "dialog" is none to the risk that its words name; a prompt gets its text."""
    html = button(
        "document.title = [confirm('Archive?'), confirm('Delete all?'), prompt('Name?', 'x')]"
    )
    asked: list[Confirmation] = []

    def answer(question: Confirmation) -> bool | str:
        asked.append(question)
        return "ada" if question.role == "prompt" else question.risks <= {"dialog"}

    web = opened(page, site, html, confirm=answer)
    outcome = web.click("go")
    assert page.title() == "true,false,ada"
    assert [(q.role, q.name) for q in asked] == [
        ("confirm", "Archive?"),
        ("confirm", "Delete all?"),
        ("prompt", "Name?"),
    ]
    assert [dialog.accepted for dialog in outcome.effects.dialogs] == [True, False, True]


@pytest.mark.browser
@pytest.mark.parametrize(
    "confirm", [None, allow_risks(["send"])], ids=["no callback", "another risk"]
)
def test_dialogs_without_a_yes_are_dismissed(page: Any, site: Site, confirm: Any) -> None:
    web = opened(
        page,
        site,
        button("document.title = [confirm('Archive?'), prompt('Name?')]"),
        confirm=confirm,
    )
    assert web.click("go").ok
    assert page.title() == "false,"


@pytest.mark.browser
def test_a_page_that_asks_before_it_is_left(page: Any, site: Site) -> None:
    html = button("1") + "<script>onbeforeunload = (event) => event.preventDefault()</script>"
    site.routes["/next"] = "<p>next"
    web = opened(page, site, html)
    assert web.click("go").ok
    stayed = web.goto(site.url + "/next")
    assert stayed.status == "error"
    assert 'the risk "dialog"' in stayed.message
    web.close()
    with WebPointer(page, AT, Policy(confirm=allow_risks(["dialog"])), Options(zoom=False)) as web:
        assert web.goto(site.url + "/next").status == "delivered"
        assert page.url == site.url + "/next"


@pytest.mark.browser
def test_one_resource_that_never_comes_is_no_failure(page: Any, site: Site) -> None:
    release = threading.Event()

    def never(path: str) -> Any:
        release.wait(60)
        return 200, {}, b""

    site.routes["/never"] = never
    web = opened(page, site, button("document.title = 'pressed'") + "<img src=/never>")
    outcome = web.goto(site.url + "/")
    assert (outcome.status.value, outcome.effects.settled) == ("delivered", False)
    assert web.click("go").ok
    assert page.title() == "pressed"
    release.set()


@pytest.mark.browser
def test_windows_share_policy_and_budget(page: Any, site: Site) -> None:
    site.routes["/tab"] = button("document.title = 'pressed'")
    web = opened(page, site, f"<a {PLACE} href=/tab target=_blank>tab</a>", max_actions=3)
    assert web.click("tab").effects.popups == (site.url + "/tab",)
    with web.on(web.popups[0]) as other:
        assert other.click("go").ok
        assert other.page.title() == "pressed"
        assert other.click("go").status == "budget"
    assert web.click("tab").status == "budget"


@pytest.mark.browser
def test_keys_press_only_what_may_be_pressed(page: Any, site: Site) -> None:
    web = opened(page, site, button("document.title = 'deleted'", "Delete all", "autofocus"))
    assert web.key("Enter").status == "needs_confirmation"
    assert web.key("Space").status == "needs_confirmation"
    assert page.title() == ""
    assert web.key("Tab").status == "delivered"
    with pytest.raises(UsageError, match="no key 'e'"):
        web.key("e")
    harmless = opened(page, site, button("document.title = 'next'", "Next", "autofocus"))
    outcome = harmless.key("Enter")
    assert (outcome.status.value, page.title()) == ("delivered", "next")
    assert outcome.target is not None
    assert outcome.target.name == "Next"
    page.evaluate("document.activeElement.blur()")
    assert harmless.key("Enter").status == "no_actionable"


@pytest.mark.browser
def test_back_and_addresses_that_are_none(page: Any, site: Site) -> None:
    site.routes["/next"] = "<p>next"
    web = opened(page, site, button("1"))
    assert web.goto(site.url + "/next").ok
    assert web.back().ok
    assert page.url == site.url + "/"
    assert web.goto(site.url.replace("http", "ws") + "/").status == "blocked_origin"
    assert "begins with http" in web.goto("/next").message


@pytest.mark.browser
@pytest.mark.parametrize("href", ["data:text/csv,1", "blob:"])
def test_files_that_a_page_makes_itself(browser: Any, site: Site, href: str) -> None:
    from molmo_agents.browser.launch import Screen, context_options

    page = browser.new_context(**context_options(Screen(900, 600), downloads=True)).new_page()
    html = f"<a {PLACE} id=a download=list.csv href='{href}'>CSV</a>"
    if href == "blob:":
        html += "<script>a.href = URL.createObjectURL(new Blob(['1']))</script>"
    outcome = opened(page, site, html, downloads=True).click("csv")
    assert (outcome.status.value, outcome.effects.downloads) == ("delivered", ("list.csv",))
    page.context.close()


def test_a_deadline_waits_while_an_answer_is_out() -> None:
    """What the page owes after a dialog is not late while the dialog is open."""

    async def run(waits: bool) -> str:
        answered = asyncio.Event()
        if waits:
            asyncio.get_running_loop().call_later(0.05, answered.set)

        async def work() -> str:
            await answered.wait()
            return "done"

        return await patiently(work(), 0.01, lambda: waits)

    assert _in_thread(run(True)) == "done"
    with pytest.raises(asyncio.TimeoutError):
        _in_thread(run(False))
