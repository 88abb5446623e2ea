"""Further forms of a secret: encodings in texts, and places in which pages paint it."""

from __future__ import annotations

import base64
import codecs
from typing import Any

import pytest
from molmo_agents.masker import HIDDEN, SecretRedactor

from molmo_point.images import load_image
from tests.agents.conftest import Site
from tests.agents.test_secrets import black, session

VALUE = "Tr0ub4dor-x9"


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


WRITTEN = {
    "hex backwards": VALUE.encode()[::-1].hex(),
    "hex with 0x": ",".join(hex(ord(c)) for c in VALUE),
    "hex of UTF-16": "".join(f"{ord(c):04x}" for c in VALUE),
    "octal": " ".join(f"{ord(c):o}" for c in VALUE),
    "bits": " ".join(f"{ord(c):08b}" for c in VALUE),
    "base32": base64.b32encode(VALUE.encode()).decode().rstrip("="),
    "base64 twice": coded(base64.b64encode(VALUE.encode()).decode()),
    "base64 backwards": coded(VALUE)[::-1],
    "base64 of upper case": coded(VALUE.upper()),
    "base64 of backwards": coded(VALUE[::-1]),
    "moved by 13": codecs.encode(VALUE, "rot13"),
    "look-alike letters": VALUE.replace("o", "\u043e").replace("x", "\u0445"),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_text_hides_a_secret_however_it_is_encoded(form: str) -> None:
    hidden = SecretRedactor([VALUE]).text(f"http://a.b/?q={WRITTEN[form]}&r=1")
    assert hidden == f"http://a.b/?q={HIDDEN}&r=1"


LIST = "<select id=o {} style='font-size:24px'>{}</select>"
TEXT = "<p id=o style='font-size:24px;display:inline-block;{}'></p>"
SVG = "<svg id=o width=200 height=40><defs><text id=t font-size=24></text></defs><use href='#t' x=2 y=30 /></svg>"
SHADOW = """<x-c></x-c><script>customElements.define('x-c', class extends HTMLElement { constructor() { super();
  const root = this.attachShadow({ mode: 'closed' }); root.innerHTML = '<canvas width=200 height=40></canvas>';
  window.o = root.firstChild } })</script>"""
COLUMN = """o.innerHTML = [...i.value].map((c, n) => `<tr><td style='font-size:20px'>${c}<td>${'qwzvbnmkxj'[n % 10]}`).join('')"""
PAINTED = {
    "group of a list": (LIST.format("size=4", "<optgroup id=g label=x>"), "g.label = i.value", ""),
    "label of an option": (LIST.format("size=4", "<option id=g>"), "g.label = i.value", ""),
    "label in a closed list": (LIST.format("", "<option id=g>"), "g.label = i.value", ""),
    "column of a table": ("<table id=o></table>", COLUMN, "r.width = 12"),
    "copy in SVG": (SVG, "t.textContent = i.value", "r.width = 90, r.top += 10, r.height -= 12"),
    "canvas in a closed shadow root": (SHADOW, "o.getContext('2d').fillText(i.value, 0, 20)", ""),
    "shadow": (TEXT.format("text-shadow:0 60px #000"), "o.textContent = i.value", "r.top += 60"),
    "drop shadow": (
        TEXT.format("filter:drop-shadow(0 60px #000)"),
        "o.textContent = i.value",
        "r.top += 60",
    ),
    "reflection": (
        TEXT.format("-webkit-box-reflect:below 20px"),
        "o.textContent = i.value",
        "r.top += r.height + 20",
    ),
}


@pytest.mark.browser
@pytest.mark.parametrize("place", PAINTED)
def test_screenshots_hide_a_secret_painted_there(page: Any, site: Site, place: str) -> None:
    html, script, there = PAINTED[place]
    body = f"<input id=i data-q=field>{html}<script>i.oninput = () => {{ {script} }}</script>"
    web = session(page, site, body)
    assert web.type("field", secret="pin").ok
    screenshot = web.look().screenshot
    assert screenshot is not None
    box = page.evaluate(
        "(there) => { const b = o.getBoundingClientRect();"
        " const r = { left: b.left, top: b.top, width: Math.min(b.width, 100), height: Math.min(b.height, 26) };"
        " eval(there); return [r.left, r.top, r.width, r.height] }",
        there,
    )
    assert black(load_image(screenshot.image), box) > 0.6
