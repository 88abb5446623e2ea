"""A page as HTML: the same controls, words and families of styles as `draw`, laid out by a browser.

Every control carries `data-k`, its index; parts of one control (a field and its label) carry the same one.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field

import numpy as np

from molmo_point.train.pages.controls import icons
from molmo_point.train.pages.labels import Words, fresh_label
from molmo_point.train.pages.looks import Look, Rgb, is_light

FONT_NAMES = {
    "DejaVuSans": "DejaVu Sans",
    "DejaVuSansMono": "DejaVu Sans Mono",
    "DejaVuSansCondensed": "DejaVu Sans Condensed",
    "DejaVuSerif": "DejaVu Serif",
    "LiberationSans": "Liberation Sans",
    "LiberationSerif": "Liberation Serif",
    "LiberationMono": "Liberation Mono",
    "LiberationSansNarrow": "Liberation Sans Narrow",
}
"""Names by which a browser finds the fonts of `looks.FACES`."""


@dataclass(frozen=True)
class Control:
    """A control on the page: a family and a glyph of `kind_of`, and what is written on it."""

    family: str
    glyph: str
    text: str


@dataclass
class Writer:
    """Writes the HTML of one page.

    Attributes:
        controls: What was written so far, by index.
        used: Labels and icons that are on the page.
    """

    rng: np.random.Generator
    look: Look
    words: Words
    unseen: bool
    controls: list[Control] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def label(self) -> str:
        """Draw a label that is not on the page yet."""
        return fresh_label(self.rng, self.words, self.used)

    def labels(self, fewest: int, most: int) -> list[str]:
        """Draw several."""
        return [self.label() for _ in range(int(self.rng.integers(fewest, most + 1)))]

    def mark(self, role: str, text: str) -> str:
        """Note down a control; return the attribute that marks its elements."""
        self.controls.append(Control("control", role, text))
        return f'data-k="{len(self.controls) - 1}"'

    def chance(self, share: float) -> bool:
        """Whether something with this chance happens."""
        return bool(self.rng.random() < share)


def write_page(writer: Writer, rows: int) -> str:
    """Write a whole document with about so many rows."""
    body = []
    if writer.chance(0.4):
        body.append(_bar(writer))
    kinds = [
        _heading,
        _paragraph,
        _field,
        _field,
        _buttons,
        _buttons,
        _links,
        _ticks,
        _tabs,
        _menu,
    ]
    kinds += [_dropdown, _switch, _signs]
    body.append('<div class="main">')
    body += [kinds[int(writer.rng.integers(len(kinds)))](writer) for _ in range(rows)]
    body.append("</div>")
    return f"<!doctype html><html><head><style>{_css(writer)}</style></head><body>{''.join(body)}</body></html>"


def _bar(w: Writer) -> str:
    title = w.label()
    parts = [f"<b {w.mark('heading', title)}>{html.escape(title)}</b>"]
    parts += [_link(w, text) for text in w.labels(1, 3)]
    if w.chance(0.4):
        parts.append(_sign(w))
    return f'<div class="bar">{" ".join(parts)}</div>'


def _heading(w: Writer) -> str:
    text = w.label()
    level = int(w.rng.integers(2, 5))
    return f"<h{level}><span {w.mark('heading', text)}>{html.escape(text)}</span></h{level}>"


def _paragraph(w: Writer) -> str:
    parts = [html.escape(text.lower()) for text in w.labels(2, 9)]
    if w.chance(0.4):
        parts.append(_link(w, w.label()))
    return f"<p>{' '.join(parts)}</p>"


def _link(w: Writer, text: str) -> str:
    return f'<a href="#" {w.mark("link", text)}>{html.escape(text)}</a>'


def _field(w: Writer) -> str:
    text = w.label()
    mark, shown = w.mark("field", text), html.escape(text)
    kind = "password" if w.chance(0.1) else "text"
    draw = w.rng.random()
    if draw < 0.35:
        return f'<div class="row"><input type="{kind}" placeholder="{shown}" {mark}></div>'
    value = f' value="{html.escape(w.label().lower())}"' if w.chance(0.3) else ""
    between = "<br>" if draw < 0.7 else " "
    return f'<div class="row"><label {mark}>{shown}</label>{between}<input type="{kind}"{value} {mark}></div>'


def _buttons(w: Writer) -> str:
    parts = []
    for number, text in enumerate(w.labels(1, 3)):
        mark, shown = w.mark("button", text), html.escape(text)
        main = "main-button" if number == 0 and w.look.filled else ""
        if w.chance(0.2):
            parts.append(f'<input type="submit" class="button {main}" value="{shown}" {mark}>')
        else:
            parts.append(f'<button class="button {main}" {mark}>{shown}</button>')
    return f'<div class="row">{" ".join(parts)}</div>'


def _links(w: Writer) -> str:
    between = "<br>" if w.chance(0.4) else " &nbsp; "
    return f'<div class="row">{between.join(_link(w, text) for text in w.labels(1, 4))}</div>'


def _ticks(w: Writer) -> str:
    role = "checkbox" if w.chance(0.6) else "radio"
    between = " " if w.chance(0.3) else "<br>"
    parts = []
    for text in w.labels(1, 4):
        mark = w.mark(role, text)
        on = " checked" if w.chance(0.4) else ""
        parts.append(f'<label {mark}><input type="{role}"{on} {mark}> {html.escape(text)}</label>')
    return f'<div class="row">{between.join(parts)}</div>'


def _tabs(w: Writer) -> str:
    chosen = int(w.rng.integers(3))
    parts = [
        f'<span class="tab{" chosen" if number == chosen else ""}" {w.mark("tab", text)}>{html.escape(text)}</span>'
        for number, text in enumerate(w.labels(2, 4))
    ]
    return f'<div class="tabs">{"".join(parts)}</div>'


def _menu(w: Writer) -> str:
    parts = [
        f"<li {w.mark('menu item', text)}>{html.escape(text)}</li>" for text in w.labels(2, 4)
    ]
    return f'<ul class="menu">{"".join(parts)}</ul>'


def _dropdown(w: Writer) -> str:
    text = w.label()
    return f'<div class="row"><select {w.mark("dropdown", text)}><option>{html.escape(text)}</option></select></div>'


def _switch(w: Writer) -> str:
    text = w.label()
    mark = w.mark("switch", text)
    on = " on" if w.chance(0.5) else ""
    knob = f'<i class="switch{on}" {mark}><i class="knob" {mark}></i></i>'
    return f'<div class="row">{knob} <label {mark}>{html.escape(text)}</label></div>'


def _signs(w: Writer) -> str:
    return f'<div class="row">{" ".join(_sign(w) for _ in range(int(w.rng.integers(1, 5))))}</div>'


def _sign(w: Writer) -> str:
    icon = icons()[int(w.rng.integers(len(icons())))]
    if f"{icon.meaning} icon" in w.used:
        return ""
    w.used.add(f"{icon.meaning} icon")
    w.controls.append(Control("icon", icon.glyphs, ""))
    sign = icon.unseen if w.unseen else icon.glyphs[int(w.rng.integers(len(icon.glyphs)))]
    framed = " framed" if w.chance(0.3) else ""
    return f'<span class="sign{framed}" data-k="{len(w.controls) - 1}">{sign}</span>'


def _css(w: Writer) -> str:
    """The family's style sheet, written by us: what it stands for is only alike."""
    look, rng = w.look, w.rng
    on = _on(look.primary)
    border = f"{look.border}px solid {_rgb(look.line)}"
    shadow = {
        "material": "box-shadow:0 1px 3px rgba(0,0,0,.5);",
        "heavy": "box-shadow:3px 3px 0 #000;",
        "soft": "box-shadow:0 1px 6px rgba(0,0,0,.15);",
    }.get(look.family, "")
    if look.family == "classic":
        shadow = "box-shadow:inset 1px 1px #fff,inset -1px -1px #808080;"
    if look.family == "heavy":
        border = "3px solid #000"
    gap = round(look.size * rng.uniform(0.2, 0.7))
    italic = "font-style:italic;" if look.italic > 0.1 else ""
    capitals = "text-transform:uppercase;" if look.capitals else ""
    high = rng.uniform(0.15, 0.5)
    return f"""
*{{box-sizing:border-box}}
body{{margin:0;background:{_rgb(look.ground)};color:{_rgb(look.ink)};{italic}
 font:{look.size}px '{FONT_NAMES[look.font]}';overflow:hidden}}
.main{{padding:{gap}px {gap + 4}px}} .row,.tabs,p,h2,h3,h4,ul{{margin:0 0 {gap}px 0;padding:0}}
h2{{font-size:1.5em}} h3{{font-size:1.25em}} h4{{font-size:1.1em}}
.bar{{background:{_rgb(look.primary)};color:{on};padding:{gap}px}} .bar a{{color:{on};margin-left:8px}}
a{{color:{_rgb(look.link)};text-decoration:{"underline" if look.underlined else "none"}}}
input,button,select{{font:inherit;color:inherit}}
input[type=text],input[type=password],select{{background:{_rgb(look.panel)};border:{border};
 border-radius:{look.radius}px;padding:{high}em {look.pad}px;max-width:95%;width:{round(rng.uniform(45, 95))}%}}
select{{width:auto}} ::placeholder{{color:{_rgb(look.faint)}}}
.button{{background:{_rgb(look.panel)};border:{border};border-radius:{look.radius}px;{capitals}
 padding:{high}em {max(3, look.pad)}px;{shadow}margin:0 3px 3px 0}}
.main-button{{background:{_rgb(look.primary)};color:{on}}}
.tabs{{border-bottom:1px solid {_rgb(look.line)}}} .tab{{display:inline-block;padding:{high}em {look.pad}px}}
.chosen{{border-bottom:2px solid {_rgb(look.primary)};font-weight:bold}}
.menu{{list-style:none;border:{border};background:{_rgb(look.panel)};width:fit-content;border-radius:{look.radius}px}}
.menu li{{padding:{high}em {look.pad + 6}px}}
.switch{{display:inline-block;width:2.2em;height:1.2em;border-radius:1em;background:{_rgb(look.line)};vertical-align:middle}}
.switch.on{{background:{_rgb(look.primary)};text-align:right}}
.knob{{display:inline-block;width:1em;height:1em;margin:.1em;border-radius:1em;background:#fff}}
.sign{{display:inline-block;font:normal {round(look.size * rng.uniform(1.2, 1.8))}px 'DejaVu Sans','Noto Color Emoji';
 padding:2px 4px}}
.framed{{border:{border};border-radius:{look.radius}px}}
"""


def _rgb(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _on(colour: Rgb) -> str:
    """Black or white, whichever can be read on a colour."""
    return "#111" if is_light(colour) else "#fff"
