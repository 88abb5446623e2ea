"""Presses and typings that only a page with a model, a server or another site's frame can put to the test."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from molmo_agents import Expect, Options, Policy, Secret, WebPointer

from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer
from tests.agents.conftest import Site
from tests.agents.oracle import HELPER, always

pytestmark = pytest.mark.browser
OPTIONS = Options(zoom=False, answer_s=60.0)
BUTTON = (
    HELPER
    + "<body style='margin:0'><button style='display:block;width:200px;height:80px' data-id=ok>OK</button>"
)


def opened(page: Any, site: Site, html: str) -> Any:
    site.routes["/"] = html
    page.goto(site.url + "/")
    return page


def at(x: float = 0.1, y: float = 0.06) -> FakePointer:
    return FakePointer(lambda image, query: [(x, y)])


def scored(score: float) -> FakePointer:
    point = Point(x=0.1, y=0.06, score=score)
    return always(
        Pointing(query="ok", points=(point,), status=Status.FOUND, text="", image_size=(900, 600))
    )


def test_a_guess_is_not_pressed(page: Any, site: Site) -> None:
    with WebPointer(opened(page, site, BUTTON), scored(0.04), options=OPTIONS) as web:
        outcome = web.click("ok")
        assert outcome.status == "unsure"
        assert "0.04" in outcome.message
        assert outcome.score == pytest.approx(0.04)
        assert web.type("ok", "x").status == web.click_all("ok").status == "unsure"
        assert web.exists("ok").status == "unsure"
        assert page.evaluate("pressed.length") == 0
    with WebPointer(page, scored(0.9), options=OPTIONS) as web:
        assert web.click("ok").status == "delivered"


def test_a_quoted_label_that_the_element_does_not_say(page: Any, site: Site) -> None:
    with WebPointer(opened(page, site, BUTTON), scored(0.9), options=OPTIONS) as web:
        outcome = web.click('the "Cancel" button')
        assert outcome.status == "name_mismatch"
        assert "Cancel" in outcome.message
        assert page.evaluate("pressed.length") == 0
        assert web.click('the "OK" button').status == "delivered"


def test_a_page_that_empties_the_file_field_says_so(page: Any, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    file.write_text("hello")
    html = "<body style='margin:0'><input type=file onchange=\"value=''\" style='width:200px;height:80px'>"
    policy = Policy(confirm=lambda question: True)
    with WebPointer(opened(page, site, html), at(), policy, OPTIONS) as web:
        outcome = web.upload("the file field", str(file))
    assert outcome.delivered
    assert "emptied the field" in outcome.message


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes every connection and never answers."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(20)
    held: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                held.append(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    for one in held:
        one.close()


def test_a_server_that_never_answers_is_let_go_of(page: Any, site: Site, silent: str) -> None:
    html = (
        BUTTON
        + f"<a id=l href='{silent}/' style='position:absolute;left:0;top:300px;width:200px;height:80px'>go</a>"
    )
    options = Options(zoom=False, settle_requests_s=1.0)
    policy = Policy(origins=(site.url, silent))
    with WebPointer(opened(page, site, html), at(), policy, options) as web:
        outcome = web.click(Point(x=0.1, y=0.56))
        assert outcome.status == "delivered"
        assert "did not answer" in outcome.message
        assert not outcome.effects.settled
        assert web.click(Point(x=0.1, y=0.06)).status == "delivered"
        assert page.evaluate("pressed.at(-1)") == "ok"


@pytest.mark.parametrize("delay", [0, 40, 60])
def test_a_frame_of_another_site_gets_no_secret(page: Any, site: Site, delay: int) -> None:
    site.routes["/ad"] = (
        "<!doctype html><input id=a><script>addEventListener('blur', () =>"
        f" setTimeout(() => {{ window.focus(); a.focus(); }}, {delay})); a.focus()</script>"
    )
    html = (
        "<!doctype html><body style='margin:0'><input id=i style='width:200px;height:80px'>"
        f"<iframe src='{site.other_url}/ad' style='width:300px;height:120px'></iframe>"
    )
    policy = Policy(
        origins=(site.url,),
        resources=(site.other_url,),
        secrets={"code": Secret("482913", origins=(site.url,))},
    )
    with WebPointer(opened(page, site, html), at(), policy, OPTIONS) as web:
        outcome = web.type("ok", secret="code")
        assert page.frames[1].evaluate("a.value") == ""
        assert (outcome.status == "delivered") == (page.evaluate("i.value") == "482913")


def test_a_secret_in_several_boxes(page: Any, site: Site) -> None:
    html = (
        "<!doctype html><body style='margin:0'><div id=w></div><script>for (let i = 0; i < 6; i++) {"
        " const b = document.createElement('input'); b.maxLength = 1; b.style.cssText = 'width:80px;height:80px';"
        " b.oninput = () => { if (b.value && b.nextElementSibling) b.nextElementSibling.focus(); }; w.append(b); }</script>"
    )
    policy = Policy(origins=(site.url,), secrets={"code": Secret("482913", origins=(site.url,))})
    with WebPointer(opened(page, site, html), at(0.04), policy, OPTIONS) as web:
        assert web.type("ok", secret="code").status == "delivered"
    boxes = page.evaluate("[...document.querySelectorAll('input')].map((b) => b.value).join('')")
    assert boxes == "482913"


def test_expected_text_in_frames_shadow_roots_and_fields(page: Any, site: Site) -> None:
    site.routes["/in"] = "<p>Saved in the frame</p>"
    html = BUTTON + (
        "<iframe src='/in'></iframe><input value='Saved in a field'><div id=h></div><script>"
        "h.attachShadow({mode: 'open'}).innerHTML = '<p>Saved in a root</p>'</script>"
    )
    with WebPointer(opened(page, site, html), at(), options=OPTIONS) as web:
        for place in ("the frame", "a field", "a root"):
            outcome = web.click("ok", expect=Expect(text=f"Saved in {place}", timeout_s=10))
            assert outcome.expectation is True
        assert web.click("ok", expect=Expect(text="Lost", timeout_s=0)).expectation is False


def test_a_page_that_could_not_be_opened_says_so(page: Any, site: Site) -> None:
    policy = Policy(origins=(site.url, "http://127.0.0.1:1"))
    with WebPointer(opened(page, site, BUTTON), at(), policy, OPTIONS) as web:
        with contextlib.suppress(Exception):
            page.goto("http://127.0.0.1:1/")
        page.wait_for_url("chrome-error:**")
        outcome = web.look()
        assert outcome.status == "error"
        assert "error page" in outcome.message


def test_the_pointer_lock_is_let_go_of(page: Any, site: Site) -> None:
    html = (
        BUTTON
        + "<script>document.querySelector('button').onclick = (e) => e.target.requestPointerLock()</script>"
    )
    with WebPointer(opened(page, site, html), at(), options=OPTIONS) as web:
        assert web.click("ok").ok
        page.wait_for_timeout(200)
        assert web.click("ok").ok
    assert page.evaluate("pressed.join()") == "ok,ok"
