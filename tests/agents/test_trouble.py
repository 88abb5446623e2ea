"""Pages that close, crash and hang; pointers that lie; secrets; budgets; and a long life without leaks."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from molmo_agents import (
    BrowserMissing,
    Expect,
    Journal,
    Options,
    PageUnusable,
    Policy,
    Secret,
    WebPointer,
    allow_risks,
)
from molmo_agents.browser.launch import find_chromium, launch_arguments
from molmo_agents.journal import read_steps

from molmo_point.errors import QueryError, ServerGone, UsageError
from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer
from tests.agents.conftest import Site
from tests.agents.oracle import HELPER, NAN, OFF, Oracle, always

pytestmark = pytest.mark.browser
BUTTON = HELPER + "<body><button data-q=ok data-id=ok>OK</button>"


def opened(page: Any, site: Site, html: str = BUTTON) -> Any:
    site.routes["/"] = html
    page.goto(site.url + "/")
    return page


def at(x: float = 0.05, y: float = 0.06) -> FakePointer:
    return FakePointer(lambda image, query: [(x, y)])


def test_a_closed_page(page: Any, site: Site) -> None:
    web = WebPointer(opened(page, site), at())
    assert web.click("ok").ok
    page.close()
    outcome = web.click("ok")
    assert outcome.status == "error"
    assert "closed" in outcome.message
    with pytest.raises(PageUnusable, match="page is closed"):
        WebPointer(page, at())


def test_a_pointer_that_was_never_closed_is_nobody_else_s_trouble(
    browser: Any, site: Site, canary: Site
) -> None:
    site.routes["/"] = "<p>first"
    canary.routes["/"] = "<iframe src='/inner'></iframe>"
    canary.routes["/inner"] = "<p id=there>there"
    context = browser.new_context()
    first = context.new_page()
    first.goto(site.url)
    forgotten = WebPointer(first, FakePointer())
    assert forgotten.look().ok
    context.close()
    other = browser.new_context()
    try:
        page = other.new_page()
        page.goto(canary.url)
        page.frame_locator("iframe").locator("#there").wait_for(timeout=20_000)
    finally:
        other.close()


def test_a_moment_without_a_screenshot_is_waited_for(
    page: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chromium on a busy machine says that it cannot take a screenshot now; the next one succeeds."""
    from playwright.sync_api import Error as PlaywrightError

    opened(page, site)
    with WebPointer(page, at(), Policy(), Options(zoom=False)) as web:
        assert web.look().ok
        session = web._session.worlds.session
        send, refused = session.send, []

        def busy(method: str, params: Any = None) -> Any:
            if method == "Page.captureScreenshot" and len(refused) < 2:
                refused.append(method)
                raise PlaywrightError(f"Protocol error ({method}): Unable to capture screenshot")
            return send(method, params)

        monkeypatch.setattr(session, "send", busy)
        outcome = web.click("ok")
    assert outcome.ok, outcome.message
    assert len(refused) == 2


def test_a_crashed_page(page: Any, site: Site) -> None:
    web = WebPointer(opened(page, site), at(), Policy(), Options(answer_s=3.0))
    assert web.click("ok").ok
    with pytest.raises(Exception, match=r"crash|ERR_ABORTED|closed"):
        page.goto("chrome://crash", timeout=3000)
    outcome = web.click("ok")
    assert outcome.status == "error"
    assert "crash" in outcome.message
    # Now that it is known, nothing is waited for any more.
    again = web.click("ok")
    assert again.status == "error"
    assert "crash" in again.message
    assert again.timings["total"] < 3.0


def test_a_page_that_hangs_in_its_handler(page: Any, site: Site) -> None:
    """An endless loop never answers; every wait of ours ends."""
    hang = (
        BUTTON
        + "<script>document.querySelector('button').onclick = () => { for (;;) {} };</script>"
    )
    options = Options(settle_requests_s=0.5, answer_s=2.0)
    web = WebPointer(opened(page, site, hang), at(), Policy(), options)
    outcome = web.click("ok")
    assert outcome.status in ("delivered", "error")
    later = web.click("ok")
    assert later.status == "error"
    assert "did not answer" in later.message


def test_a_browser_that_is_gone(browser: Any, site: Site) -> None:
    """The whole browser dies between two verbs: a status with the remedy, and closing does not raise either."""
    own = browser.browser_type.launch(
        executable_path=find_chromium(), args=launch_arguments(), timeout=60_000
    )
    page = own.new_page()
    site.routes["/"] = BUTTON
    page.goto(site.url + "/")
    web = WebPointer(page, at())
    assert web.click("ok").ok
    with contextlib.suppress(Exception):
        # Answered by nobody: the browser ends at once.
        own.new_browser_cdp_session().send("Browser.crash")
    outcome = web.click("ok")
    assert outcome.status == "error"
    assert "open a new page" in outcome.message
    web.close()
    own.close()


def test_what_is_still_under_way_is_said(page: Any, site: Site) -> None:
    """A request that takes longer than anybody waits: delivered, but not settled."""
    release = threading.Event()

    def late(path: str) -> Any:
        release.wait(60)
        return 200, {"Content-Type": "text/plain"}, b"late"

    site.routes["/late"] = late
    html = (
        BUTTON
        + "<script>document.querySelector('button').onclick = () => fetch('/late');</script>"
    )
    web = WebPointer(opened(page, site, html), at(), Policy(), Options(settle_requests_s=0.2))
    hasty = web.click("ok")
    assert hasty.status == "delivered"
    assert hasty.effects.settled is False
    release.set()
    page.wait_for_load_state("networkidle")
    patient = WebPointer(page, at(), Policy(), Options(settle_requests_s=60.0)).click("ok")
    assert patient.effects.settled is True
    assert patient.effects.requests == 1


def test_a_caller_s_mistakes_raise(page: Any, site: Site) -> None:
    web = WebPointer(opened(page, site), at())
    with pytest.raises(QueryError, match="query is empty"):
        web.click(" ")
    with pytest.raises(UsageError, match="either text= or secret="):
        web.type("field")
    with pytest.raises(UsageError, match="no secret 'pin'"):
        web.type("field", secret="pin")
    with pytest.raises(UsageError, match="there is no file"):
        web.upload("field", "nowhere.txt")
    with pytest.raises(UsageError, match="expected button"):
        web.click("ok", button="nose")
    web.close()
    web.close()
    with pytest.raises(PageUnusable, match="was closed"):
        web.click("ok")


def test_no_browser_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.delenv("MOLMO_CHROMIUM", raising=False)
    with pytest.raises(BrowserMissing, match="apt-get install chromium"):
        find_chromium()
    monkeypatch.setenv("MOLMO_CHROMIUM", "/no/such/browser")
    with pytest.raises(BrowserMissing, match="/no/such/browser"):
        find_chromium()


def broken(answer: Any) -> FakePointer:
    def give(image: Any, query: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return FakePointer(give)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ([], "absent"),
        ([(i / 1000, 0.5) for i in range(1000)], "ambiguous"),
        ([(0.9, 0.9)], "no_actionable"),
        (ServerGone("nobody answers at tcp://gpu:5555"), "error"),
        (ValueError("nan"), "error"),
        (Pointing(query="ok", status=Status.MALFORMED, text="<point", image_size=(1, 1)), "error"),
        (Pointing(query="ok", status=Status.TRUNCATED, image_size=(1, 1)), "error"),
    ],
    ids=["absent", "1000 points", "beside", "server gone", "raises", "malformed", "truncated"],
)
def test_pointers_that_are_no_help(page: Any, site: Site, answer: Any, status: str) -> None:
    web = WebPointer(opened(page, site), broken(answer))
    assert web.click("ok").status == status
    assert page.evaluate("pressed.length") == 0


@pytest.mark.parametrize("pointing", [NAN, OFF], ids=["nan", "outside"])
def test_points_that_are_none(page: Any, site: Site, pointing: Pointing) -> None:
    outcome = WebPointer(opened(page, site), always(pointing)).click("ok")
    assert outcome.status == "error"
    assert "outside of the screenshot" in outcome.message


def test_a_model_that_says_it_is_probably_absent(page: Any, site: Site) -> None:
    sure = Pointing(
        query="ok",
        points=(Point(x=0.05, y=0.06),),
        status=Status.FOUND,
        absent_probability=0.9,
        image_size=(1, 1),
    )
    assert WebPointer(opened(page, site), broken(sure)).click("ok").status == "absent"


WORDS = (
    HELPER
    + "<body style='margin:0'><main>A page about other things altogether, long enough that no row or card says what is asked"
    " for: it goes on and on, until nobody could take it for the line or the card that the button stands in, which is short."
    "<div><b>Team</b> <button data-id=ok style='position:absolute;left:0;top:0;width:200px;height:80px'>Next</button>"
)


@pytest.mark.parametrize(
    ("query", "calibrated", "limit", "status"),
    [
        ("the weather map", True, 1.0, "unsure"),
        ("the weather map", True, 0.9, "delivered"),
        ("the weather map", False, 1.0, "delivered"),
        ("the button at the top", True, 1.0, "delivered"),
        ("go to the next page", True, 1.0, "delivered"),
        ("what the team has", True, 1.0, "delivered"),
    ],
)
def test_a_score_is_believed_less_where_the_page_says_nothing_of_the_query(
    page: Any, site: Site, query: str, calibrated: bool, limit: float, status: str
) -> None:
    """Calibration knows questions whose words are mostly there; an element that shows other words speaks against the point."""
    found = Pointing(
        query=query,
        points=(Point(x=0.05, y=0.06, score=0.95),),
        status=Status.FOUND,
        image_size=(1, 1),
        calibrated=calibrated,
    )
    options = Options(min_score_unsaid=limit)
    outcome = WebPointer(opened(page, site, WORDS), broken(found), Policy(), options).click(query)
    assert outcome.status == status, outcome.message
    assert page.evaluate("pressed") == (["ok"] if status == "delivered" else [])


def test_an_element_without_words_cannot_speak_against_a_point(page: Any, site: Site) -> None:
    found = Pointing(
        query="search",
        points=(Point(x=0.05, y=0.06, score=0.6),),
        status=Status.FOUND,
        image_size=(1, 1),
        calibrated=True,
    )
    html = WORDS.replace(">Next<", " aria-label=Next>&#8250;<")
    assert WebPointer(opened(page, site, html), broken(found)).click("the arrow").ok
    assert WebPointer(page, broken(found)).click("the magnifying glass").ok


def test_budgets(page: Any, site: Site) -> None:
    web = WebPointer(opened(page, site), at(), Policy(max_actions=2))
    assert [str(web.click("ok").status) for _ in range(3)] == ["delivered", "delivered", "budget"]
    assert web.exists("ok").status == "found"
    assert page.evaluate("pressed.length") == 2


def test_an_address_without_a_server_says_so(page: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    outcome = WebPointer(page, at(), Policy(origins=(url,))).goto(url)
    assert outcome.status == "error"
    assert "no server answers there: start it" in outcome.message


def test_verbs_and_origins_that_are_not_allowed(page: Any, site: Site, canary: Site) -> None:
    web = WebPointer(opened(page, site), at(), Policy(verbs=frozenset({"look", "goto"})))
    assert web.click("ok").status == "blocked_action"
    assert web.goto(canary.url + "/").status == "blocked_origin"
    assert web.goto("file:///etc/passwd").status == "blocked_origin"
    assert web.goto("javascript:alert(1)").status == "blocked_origin"
    assert canary.log == []


def test_a_page_off_the_policy_is_not_touched(page: Any, site: Site) -> None:
    web = WebPointer(opened(page, site), at(), Policy(origins=("https://example.com",)))
    outcome = web.click("ok")
    assert outcome.status == "blocked_origin"
    assert "https://example.com" in outcome.message
    assert page.evaluate("pressed.length") == 0


def test_dry_run_presses_nothing(page: Any, site: Site) -> None:
    web = WebPointer(opened(page, site), at(), Policy(dry_run=True))
    assert web.click("ok").status == "ready"
    assert page.evaluate("pressed.length") == 0


def test_expectations(page: Any, site: Site) -> None:
    html = (
        BUTTON + "<script>document.querySelector('button').onclick = () =>"
        " setTimeout(() => { document.body.append('Done'); }, 100);</script>"
    )
    web = WebPointer(opened(page, site, html), at())
    assert web.click("ok", expect=Expect(text="Done")).expectation is True
    failed = web.click("ok", expect=Expect(url="/nowhere", timeout_s=0.1))
    assert failed.status == "delivered"
    assert failed.expectation is False
    assert not failed.ok


def test_locators_find_the_same_element_again(page: Any, site: Site) -> None:
    web = WebPointer(
        opened(
            page,
            site,
            HELPER + "<body><button data-q=ok aria-label='Save it'>S</button><button>T</button>",
        ),
        at(),
    )
    outcome = web.locate("ok")
    assert outcome.locator is not None
    found = eval(outcome.locator.playwright(), {"page": page})
    assert found.count() == 1
    assert found.inner_text() == "S"


def test_click_all_presses_the_elements_of_the_screenshot(page: Any, site: Site) -> None:
    """After each press the list moves up; what has come into a pressed row's place is not pressed for it."""
    rows = "".join(
        f"<div style='height:44px'><button data-q={'junk' if n % 2 else 'x'} data-id={n}"
        " onclick='this.parentNode.remove()'>Drop</button></div>"
        for n in range(6)
    )
    site.routes["/"] = HELPER + "<body>" + rows
    page.goto(site.url + "/")
    oracle = Oracle(page)
    web = WebPointer(page, oracle.pointer, Policy(), Options(zoom=False))
    oracle.web = web
    outcome = web.click_all("junk")
    assert outcome.status == "delivered", outcome
    assert page.evaluate("pressed") == ["1", "3", "5"]


def test_secrets_stay_out_of_every_artefact(page: Any, site: Site, tmp_path: Path) -> None:
    secret = "s3cr3t Pass/wörd"
    site.routes["/"] = HELPER + (
        "<body><input id=i type=password data-q=field><p id=echo></p>"
        "<script>i.oninput = () => { echo.textContent = 'you typed ' + i.value;"
        " document.title = i.value; history.replaceState(0, '', '?p=' + encodeURIComponent(i.value)); };</script>"
        "<button data-q=ok onclick='alert(i.value)'>OK</button>"
    )
    page.goto(site.url + "/")
    oracle = Oracle(page)
    policy = Policy(
        secrets={"pin": Secret(secret, (site.url,))}, confirm=allow_risks(["password"])
    )
    seen: list[Any] = []
    web = WebPointer(page, oracle.pointer, policy, Options(zoom=False), Journal(tmp_path))
    oracle.web = web
    typed = web.type("field", secret="pin")
    assert typed.status == "delivered", typed
    assert page.evaluate("i.value") == secret
    pressed = web.click("ok")
    assert pressed.effects.dialogs
    looked = web.look()
    seen += [typed, pressed, looked]
    for outcome in seen:
        text = outcome.model_dump_json()
        assert "s3cr3t" not in text
    for path in tmp_path.iterdir():
        assert b"s3cr3t" not in path.read_bytes(), path
    assert looked.screenshot is not None
    # The field and the echoed line are black in the screenshot the model gets.
    assert len(looked.screenshot.masks) >= 2
    assert any("<secret>" in json.dumps(step) for step in read_steps(tmp_path))


def test_a_secret_is_not_typed_elsewhere(page: Any, site: Site) -> None:
    opened(page, site, HELPER + "<body><input id=i data-q=ok style='width:300px;height:60px'>")
    policy = Policy(
        secrets={"pin": Secret("s3cr3t", ("https://bank.example",))},
        confirm=allow_risks(["password"]),
    )
    outcome = WebPointer(page, at(), policy).type("ok", secret="pin")
    assert outcome.status == "blocked_origin"
    assert page.evaluate("i.value") == ""


@pytest.mark.lengthy
@pytest.mark.parametrize(
    "steps", [60, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_a_long_life_leaks_nothing(page: Any, site: Site, steps: int) -> None:
    """Frames come and go; afterwards there are as many sessions, pages, listeners and nodes as before."""
    html = HELPER + (
        "<body><button data-q=ok data-id=ok"
        f" onclick=\"f.innerHTML = '<iframe src={site.other_url}/in></iframe>'\">OK</button><div id=f></div>"
    )
    site.routes["/in"] = "<p>in</p>"
    opened(page, site, html)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def counts() -> dict[str, float]:
        session.send("HeapProfiler.collectGarbage")
        metrics = {
            m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]
        }
        return {
            name: metrics[name]
            for name in ("Nodes", "JSEventListeners", "Documents", "JSHeapUsedSize")
        }

    policy = Policy(resources=(site.other_url,), max_actions=10_000)
    with WebPointer(page, at(), policy, Options(zoom=False)) as web:
        for _ in range(10):
            outcome = web.click("ok")
            assert outcome.ok, outcome
        before, sessions = counts(), len(web._session.worlds._foreign)
        for _ in range(steps):
            outcome = web.click("ok")
            assert outcome.ok, outcome
        after = counts()
        assert len(web._session.worlds._foreign) <= sessions + 1
        assert len(web._session.worlds._contexts) <= 8
    assert len(page.context.pages) == 1
    assert after["Nodes"] <= before["Nodes"] + 20
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 5
    assert after["Documents"] <= before["Documents"] + 2
    assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] * 1.1 + 300_000


def test_a_frame_that_comes_and_goes_is_never_taken_for_a_page(page: Any, site: Site) -> None:
    """Its request may reach us before the news that the frame exists, or after the news that it is gone."""
    site.routes["/in"] = "<p>in</p>"
    opened(
        page,
        site,
        HELPER + "<body><button data-q=ok data-id=ok>OK</button><div id=f></div><script>"
        "let n = 0; const put = () => { if (n++ < 120) {"
        f" f.innerHTML = '<iframe src={site.other_url}/in></iframe>';"
        " setTimeout(put, n % 7 * 4) } else document.title = 'done' };"
        "</script>",
    )
    with WebPointer(page, at(), Policy(resources=(site.other_url,)), Options(zoom=False)) as web:
        assert web.look().ok
        page.evaluate("put()")
        page.wait_for_function("document.title === 'done'", timeout=60_000)
        outcome = web.click("ok")
    assert outcome.ok, outcome.message
    assert web._session.gate.total_blocked == 0
