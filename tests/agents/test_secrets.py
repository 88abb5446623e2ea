"""A secret in all its forms: in images, texts, addresses and questions."""

from __future__ import annotations

import base64
import html
import json
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molmo_agents import Journal, Options, Policy, Secret, WebPointer
from molmo_agents.flows.report import write_report
from molmo_agents.journal import read_steps
from molmo_agents.masker import HIDDEN, SecretRedactor, fold
from molmo_agents.policy import Confirmation
from molmo_agents.screen import Box
from molmo_agents.target.blackout import strips

from molmo_point.images import load_image
from tests.agents.conftest import Site
from tests.agents.oracle import HELPER, Oracle

VALUE = "Tr0ub!d*r~3 wörd"
WRITTEN = {
    "as it is": VALUE,
    "upper case": VALUE.upper(),
    "grouped": "Tr0u b!d* r~3 wörd",
    "dashes": "Tr0ub!-d*r~3-wörd",
    "split by a soft hyphen": "Tr0ub!\u00add*r~3 w\u200börd",
    "quoted": quote(VALUE),
    "form": quote_plus(VALUE),
    "Chromium's form": "Tr0ub%21d*r%7E3+w%C3%B6rd",
    "encodeURIComponent": "Tr0ub!d*r~3%20w%C3%B6rd",
    "escape()": "Tr0ub%21d*r%7E3%20w%F6rd",
    "lower-case hex": "Tr0ub%21d%2ar%7e3%20w%c3%b6rd",
    "twice": quote(quote(VALUE)),
    "json": json.dumps(VALUE)[1:-1],
    "html": html.escape(VALUE).replace("!", "&#33;"),
    "cut": VALUE[:9],
    "hex": VALUE.encode().hex(),
    "stars between the letters": "*".join(VALUE),
    "full width": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in VALUE),
    "decomposed": unicodedata.normalize("NFD", VALUE),
    "backwards": VALUE[::-1],
    "codes": " ".join(str(ord(c)) for c in VALUE),
    "hex with colons": ":".join(f"{byte:02x}" for byte in VALUE.encode()),
    "JavaScript's escapes": "".join(f"\\u{{{ord(c):x}}}" for c in VALUE),
    "Python's escapes": "".join(f"\\x{ord(c):02x}" for c in VALUE),
    "base64 of UTF-16": base64.b64encode(VALUE.encode("utf-16-le")).decode().rstrip("="),
}


def test_signs_alone_hide_no_secret_of_few_letters() -> None:
    redactor = SecretRedactor(["p@$$!", "?!"])
    assert redactor.text("P@$$! ps ?! a!b") == f"{HIDDEN} ps {HIDDEN} a!b"


@pytest.mark.parametrize("form", WRITTEN)
def test_text_hides_a_secret_however_it_is_written(form: str) -> None:
    hidden = SecretRedactor([VALUE]).text(f"http://a.b/?q={WRITTEN[form]}&r=1")
    assert hidden == f"http://a.b/?q={HIDDEN}&r=1"


@given(st.text(min_size=4, max_size=30), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_at_any_place_shows_no_secret(secret: str, before: bytes, after: bytes) -> None:
    raw = before + secret.encode("utf-8", "surrogatepass") + after
    if len(fold(secret)[0]) < 4 or any(0xD800 <= ord(c) < 0xE000 for c in secret):
        return
    hidden = SecretRedactor([secret]).text(base64.b64encode(raw).decode())
    kept = "".join(hidden.split(HIDDEN))
    # What is left stands for the neighbours, and for the few bits shared with them.
    assert len(kept) * 6 <= (len(before) + len(after)) * 8 + 4 * 6 + 12


PLAIN = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


@given(PLAIN, st.text(max_size=20), st.text(max_size=20))
def test_the_whole_secret_is_found(secret: str, before: str, after: str) -> None:
    """Spans lie within the text, in order; without secrets nothing changes."""
    text = before + secret + after
    spans = SecretRedactor([secret]).spans(text)
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert all(b < c for (_, b), (c, _) in pairwise(spans))
    assert any(a <= len(before) and b >= len(before) + len(secret) for a, b in spans)
    assert SecretRedactor([]).text(text) == text


def test_other_text_stays() -> None:
    masker = SecretRedactor(["4111222233334444"])
    for text in ("4111", "in 2222 and 3333", "card ending 4444", "Tuesday"):
        assert masker.text(text) == text


def test_words_of_ours_stay() -> None:
    """A secret that is a word of ours masks values, never names of fields and statuses."""
    tree = {"status": "delivered", "name": "delivered", "effects": {"url": "name"}}
    assert SecretRedactor(["delivered", "name", "url"]).value(tree) == {
        "status": "delivered",
        "name": HIDDEN,
        "effects": {"url": HIDDEN},
    }


def test_questions_show_no_secret() -> None:
    question = Confirmation(
        "click", frozenset({"send"}), f"Send {VALUE}", "button", "q", f"http://a/?{quote(VALUE)}"
    )
    shown = SecretRedactor([VALUE]).confirmation(question)
    assert (shown.name, shown.url, shown.risks) == (
        f"Send {HIDDEN}",
        f"http://a/?{HIDDEN}",
        question.risks,
    )


def test_what_moves_is_black_all_its_way() -> None:
    fixed, view = Box(0, 0, 50, 20), (600.0, 400.0)
    assert strips([[fixed], [fixed]], view) == [fixed]
    across = [[fixed, Box(x, 100, 30, 10)] for x in (0, 40, 80)]
    assert strips(across, view) == [fixed, Box(0, 100, 600, 10)]
    down = [[Box(5, y, 30, 10)] for y in (0, 40)]
    assert strips(down, view) == [Box(5, 0, 30, 400)]
    assert strips([[Box(0, 0, 9, 9)], [Box(50, 60, 9, 9)]], view) == [Box(0, 0, 600, 400)]


SHOWN = """
<style>p, input, select, canvas { font-size: 20px; margin: 2px; display: block } #attr::before { content: attr(data-v) }</style>
<input id=i data-q=field>
<p id=text></p><p id=upper></p><p id=spans></p><p id=groups></p><p id=attr></p><x-closed></x-closed>
<input id=place><input type=button id=value value=x><select id=list><option>x</select>
<img id=alt width=200 height=24 src=/none.png><svg width=300 height=30><text id=svg y=24 font-size=20></text></svg>
<canvas id=canvas width=200 height=30></canvas>
<bdo id=back dir=rtl style="display:block;text-align:left"></bdo>
<p id=turned style="display:inline-flex;flex-direction:row-reverse"></p>
<p><ruby id=ruby></ruby></p>
<iframe id=inner width=300 height=50 srcdoc='<p id=o style="font-size:20px">'></iframe>
<script>
customElements.define('x-closed', class extends HTMLElement { constructor() { super();
  this.attachShadow({ mode: 'closed' }).innerHTML = '<p style="font-size:20px;margin:2px"></p>';
  } connectedCallback() { } });
i.oninput = () => { const v = i.value;
  text.textContent = 'Hello ' + v; upper.textContent = v.toUpperCase(); attr.dataset.v = v; place.placeholder = v;
  value.value = v;
  spans.innerHTML = [...v].map((c) => '<span>' + c + '</span>').join('<wbr>'); groups.textContent = v.replace(/(.{4})/g, '$1 ');
  back.textContent = [...v].reverse().join('');
  turned.innerHTML = [...v].reverse().map((c) => '<span>' + c + '</span>').join('');
  ruby.innerHTML = [...v].map((c) => c + '<rt>x</rt>').join('');
  list.options[0].text = v; alt.alt = v; svg.textContent = v; inner.contentDocument.querySelector('p').textContent = v;
  const c = canvas.getContext('2d'); c.font = '20px sans-serif'; c.fillText(v, 0, 24); };
</script>"""
PLACES = [
    "i",
    "text",
    "upper",
    "spans",
    "groups",
    "attr",
    "place",
    "value",
    "list",
    "alt",
    "svg",
    "canvas",
    "back",
    "turned",
    "ruby",
    "inner",
]
RECT = "(e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height] }"


def black(image: Any, box: list[float]) -> float:
    """Share of black pixels in the left 80 px of a box."""
    x, y, width, height = (int(side) for side in box)
    part = image[y + 2 : y + height - 2, x + 2 : x + min(width, 80)]
    return float((part.max(axis=2) < 8).mean())


def session(
    page: Any, site: Site, body: str, folder: Path | None = None, **policy: Any
) -> WebPointer:
    site.routes["/"] = HELPER + "<body>" + body
    page.goto(site.url + "/")
    oracle = Oracle(page)
    settings = {
        "confirm": lambda question: True,
        "secrets": {"pin": Secret("Echo5ecret", (site.url,))},
    }
    web = WebPointer(
        page,
        oracle.pointer,
        Policy(**{**settings, **policy}),
        Options(zoom=False),
        Journal(folder) if folder else None,
    )
    oracle.web = web
    return web


@pytest.mark.browser
def test_screenshots_hide_a_secret_wherever_it_is_painted(page: Any, site: Site) -> None:
    web = session(page, site, SHOWN)
    clear = web.look().screenshot
    assert clear is not None
    assert clear.masks == ()
    assert web.type("field", secret="pin").ok
    screenshot = web.look().screenshot
    assert screenshot is not None
    image = load_image(screenshot.image)
    shares = {name: black(image, page.eval_on_selector(f"#{name}", RECT)) for name in PLACES}
    # The frame's text lies inside its border.
    shares.pop("inner")
    assert {name: share for name, share in shares.items() if share < 0.6} == {}
    left, top, _, _ = page.eval_on_selector("#inner", RECT)
    assert any(box.contains(left + 20, top + 40) for box in screenshot.masks)


@pytest.mark.browser
def test_a_closed_shadow_root_hides_nothing_from_the_mask(page: Any, site: Site) -> None:
    body = """<input id=i data-q=field><x-closed></x-closed><script>
    customElements.define('x-closed', class extends HTMLElement { constructor() { super();
      window.inner = this.attachShadow({ mode: 'closed' }); inner.innerHTML = '<p id=p style="font-size:24px">' } });
    i.oninput = () => inner.firstChild.textContent = i.value</script>"""
    web = session(page, site, body)
    assert web.type("field", secret="pin").ok
    screenshot = web.look().screenshot
    assert screenshot is not None
    x, y, _, height = page.evaluate(f"({RECT})(inner.firstChild)")
    assert black(load_image(screenshot.image), [x, y, 90, height]) > 0.9


@pytest.mark.browser
def test_a_frame_in_a_closed_shadow_root_hides_nothing_from_the_mask(
    page: Any, site: Site
) -> None:
    body = """<input id=i data-q=field><x-closed style='display:block'></x-closed><script>
    customElements.define('x-closed', class extends HTMLElement { constructor() { super();
      window.inner = this.attachShadow({ mode: 'closed' });
      inner.innerHTML = '<iframe style="width:200px;height:60px" srcdoc="<p style=font-size:24px;margin:0>x">'; } });
    i.oninput = () => inner.firstChild.contentDocument.querySelector('p').textContent = i.value</script>"""
    web = session(page, site, body)
    assert web.type("field", secret="pin").ok
    screenshot = web.look().screenshot
    assert screenshot is not None
    x, y, _, _ = page.evaluate(f"({RECT})(inner.firstChild)")
    assert black(load_image(screenshot.image), [x + 10, y + 10, 90, 28]) > 0.9


@pytest.mark.browser
def test_moving_text_is_never_seen(page: Any, site: Site) -> None:
    body = """<input id=i data-q=field style='color:#fff'>
    <p id=o style='position:absolute;top:200px;color:#f0f;font-size:24px'></p>
    <script>i.oninput = () => o.textContent = i.value; let x = 0;
    setInterval(() => { x = (x + 40) % 600; o.style.left = x + 'px' }, 16)</script>"""
    web = session(page, site, body)
    assert web.type("field", secret="pin").ok
    for _ in range(3):
        screenshot = web.look().screenshot
        assert screenshot is not None
        image = load_image(screenshot.image).astype(np.int16)
        assert not ((image[..., 0] > 200) & (image[..., 1] < 60) & (image[..., 2] > 200)).any()


@pytest.mark.browser
@pytest.mark.parametrize(
    "rewrite",
    ["i.value.toUpperCase()", "i.value.slice(0, 6)", r"i.value.replace(/(.{4})(?=.)/g, '$1-')"],
    ids=["upper", "cut", "grouped"],
)
def test_a_field_that_rewrites_a_secret(
    page: Any, site: Site, tmp_path: Path, rewrite: str
) -> None:
    web = session(
        page,
        site,
        f"<input id=i data-q=field><script>i.oninput = () => i.value = {rewrite}</script>",
        tmp_path,
    )
    outcome = web.type("field", secret="pin")
    screenshot = web.look().screenshot
    assert screenshot is not None
    assert black(load_image(screenshot.image), page.eval_on_selector("#i", RECT)) > 0.9
    held = page.evaluate("i.value")
    report = write_report(tmp_path, read_steps(tmp_path), "run").read_text("utf-8")
    for text in (outcome.model_dump_json(), (tmp_path / "steps.jsonl").read_text("utf-8"), report):
        assert held not in text


@pytest.mark.browser
def test_what_is_typed_into_a_password_field_is_a_secret(
    page: Any, site: Site, tmp_path: Path
) -> None:
    """Also without a name: in the question, the line of Playwright, the journal, and where the page shows it."""
    body = (
        "<input type=password id=i data-q=field><p id=o style='font-size:24px'></p>"
        "<script>i.oninput = () => o.textContent = i.value</script>"
    )
    asked: list[Confirmation] = []
    web = session(
        page,
        site,
        body,
        tmp_path,
        secrets={},
        confirm=lambda question: asked.append(question) or True,
    )
    outcome = web.type("field", "hunter2-plain")
    assert outcome.status == "delivered"
    assert asked[0].detail == HIDDEN
    screenshot = web.look().screenshot
    assert screenshot is not None
    x, y, _, height = page.eval_on_selector("#o", RECT)
    assert black(load_image(screenshot.image), [x, y, 90, height]) > 0.9
    assert "hunter2" not in outcome.model_dump_json()
    assert "hunter2" not in (tmp_path / "steps.jsonl").read_text("utf-8")


@pytest.mark.browser
def test_secrets_that_are_words_of_ours_break_nothing(
    page: Any, site: Site, tmp_path: Path
) -> None:
    words = ["text", "name", "url", "delivered", "click", "a", "input", "type", "kind"]
    secrets = {word: Secret(word, (site.url,)) for word in words}
    web = session(
        page,
        site,
        "<input id=i data-q=field><button data-q=ok>OK</button>",
        tmp_path,
        secrets=secrets,
    )
    assert web.type("field", secret="text").status == "delivered"
    assert web.click("ok").status == "delivered"
    assert [step["outcome"]["verb"] for step in read_steps(tmp_path)] == ["type", "click"]


@pytest.mark.browser
def test_the_address_of_an_image_hides_a_secret(page: Any, site: Site, tmp_path: Path) -> None:
    web = session(page, site, "<input id=i data-q=field>", tmp_path)
    pin = web.policy.secrets["pin"].value
    page.evaluate("(pin) => history.pushState(0, '', '/?q=' + encodeURIComponent(pin))", pin)
    screenshot = web.look().screenshot
    assert screenshot is not None
    assert screenshot.url == f"{site.url}/?q={HIDDEN}"
