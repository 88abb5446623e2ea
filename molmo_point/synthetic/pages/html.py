"""A page as HTML: the controls and labels of `draw`, styled by a theme or a framework, laid out by a browser.

Every control has the attribute `data-k`, its index; the parts of one control (a field and its label) share it.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field

import numpy as np

from molmo_point.synthetic.pages.controls import icons
from molmo_point.synthetic.pages.frameworks import Framework
from molmo_point.synthetic.pages.labels import Words, fresh_label
from molmo_point.synthetic.pages.style_sheet import style_sheet
from molmo_point.synthetic.pages.themes import Theme

DIALOGS = 0.15
"""Share of pages with an open dialog; what it covers is not asked for."""

MENTIONS = 0.2
"""Share of pages that begin with an instruction that names a control, and is not one."""

PANELS = 0.2
"""Share of training pages with running text beside them, which is never asked for."""

CLOSERS = 0.6
"""Share of dialogs on training pages that have a close icon."""

SENTENCES = (
    'Click on the "{}" button.',
    'Click the link "{}".',
    'Select "{}" and click Submit.',
    "Press {} to go on.",
    'Find "{}" and press it.',
    "You can change this later under {}.",
    "Do not forget to choose {}!",
)


@dataclass(frozen=True)
class Control:
    """A control: family and glyph of `kind_of`, and its text."""

    family: str
    glyph: str
    text: str


@dataclass
class Writer:
    """Writes the HTML of one page.

    Attributes:
        framework: Its framework; None = our own style sheet.
        controls: The controls so far, by index.
        used: Labels and icons on the page.
    """

    rng: np.random.Generator
    theme: Theme
    words: Words
    unseen: bool
    framework: Framework | None = None
    controls: list[Control] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    @property
    def dark(self) -> bool:
        """Whether the page is light on dark: its theme is, and its framework has a dark scheme."""
        return self.theme.dark and (self.framework is None or self.framework.dark)

    def label(self) -> str:
        """Draw a label that is not on the page yet."""
        return fresh_label(self.rng, self.words, self.used)

    def labels(self, fewest: int, most: int) -> list[str]:
        """Draw several labels."""
        return [self.label() for _ in range(int(self.rng.integers(fewest, most + 1)))]

    def mark(self, role: str, text: str) -> str:
        """Add a control; return the attribute of its elements."""
        self.controls.append(Control("control", role, text))
        return f'data-k="{len(self.controls) - 1}"'

    def classes(self, part: str, own: str = "") -> str:
        """Return the class attribute of a part of a control.

        Args:
            own: Classes of our style sheet.
        """
        choices = self.framework.classes.get(part, ()) if self.framework else ()
        if choices:
            own = f"{own} {choices[int(self.rng.integers(len(choices)))]}".strip()
        return f'class="{own}"' if own else ""

    def chance(self, share: float) -> bool:
        """Return True with this probability."""
        return bool(self.rng.random() < share)


def write_page(writer: Writer, rows: int, corner: tuple[int, int] = (0, 0)) -> str:
    """Return a document with about `rows` rows.

    Args:
        corner: Empty pixels to the left and above.
    """
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
    left, top = corner
    body.append(f'<div class="content" style="margin:{top}px 0 0 {left}px">')
    body += [kinds[int(writer.rng.integers(len(kinds)))](writer) for _ in range(rows)]
    body.append("</div>")
    if writer.chance(MENTIONS):
        body.insert(0, _mention(writer))
    # Pages of evaluation never change: their results are compared over time.
    if not writer.unseen and writer.chance(PANELS):
        body.insert(0, _panel(writer))
    if writer.chance(DIALOGS):
        body.append(_dialog(writer))
    styles = "".join(
        f"<style>{sheet}</style>"
        for sheet in style_sheet(writer.rng, writer.theme, writer.framework)
    )
    dark = ' data-theme="dark" data-bs-theme="dark"' if writer.dark else ""
    return f"<!doctype html><html{dark}><head>{styles}</head><body>{''.join(body)}</body></html>"


def _bar(w: Writer) -> str:
    title = w.label()
    parts = [f"<b {w.mark('heading', title)}>{html.escape(title)}</b>"]
    parts += [_link(w, text) for text in w.labels(1, 3)]
    if w.chance(0.4):
        parts.append(_sign(w))
    return f"<div {w.classes('bar', 'strip')}>{' '.join(parts)}</div>"


def _dialog(w: Writer) -> str:
    kinds = [_paragraph, _field, _ticks, _dropdown]
    parts = [_heading(w), kinds[int(w.rng.integers(len(kinds)))](w), _buttons(w)]
    if not w.unseen and w.chance(CLOSERS):
        parts.insert(0, f'<div style="text-align:right">{_sign(w, "close")}</div>')
    return f'<div class="veil"></div><dialog open><article>{"".join(parts)}</article></dialog>'


def _heading(w: Writer) -> str:
    text = w.label()
    level = int(w.rng.integers(2, 5))
    return f"<h{level}><span {w.mark('heading', text)}>{html.escape(text)}</span></h{level}>"


def _paragraph(w: Writer) -> str:
    parts = [html.escape(text.lower()) for text in w.labels(2, 9)]
    if w.chance(0.4):
        parts.append(_link(w, w.label()))
    if not w.unseen and w.chance(0.5):
        links = [_link(w, text) for text in w.labels(1, 4)]
        for link in links:
            parts.insert(int(w.rng.integers(len(parts) + 1)), link)
    return f"<p>{' '.join(parts)}</p>"


def _panel(w: Writer) -> str:
    side, width = ("right", "left")[int(w.chance(0.3))], int(w.rng.integers(25, 55))
    lines = "".join(f"<p>{html.escape(text)}</p>" for text in w.labels(2, 6))
    return f'<div style="float:{side};width:{width}%;padding:4px">{lines}</div>'


def _mention(w: Writer) -> str:
    """Return an instruction that names a control, and is not one."""
    named = [control.text for control in w.controls if control.text]
    if not named:
        return ""
    sentence = SENTENCES[int(w.rng.integers(len(SENTENCES)))]
    text = sentence.format(named[int(w.rng.integers(len(named)))])
    return f"<div {w.classes('bar', 'strip') if w.chance(0.5) else ''}>{html.escape(text)}</div>"


def _link(w: Writer, text: str) -> str:
    return f'<a href="#" {w.mark("link", text)}>{html.escape(text)}</a>'


def _field(w: Writer) -> str:
    text = w.label()
    mark, shown = w.mark("field", text), html.escape(text)
    kind = "password" if w.chance(0.1) else "text"
    dress = w.classes("field")
    draw = w.rng.random()
    if draw < 0.35:
        return (
            f'<div class="line"><input type="{kind}" {dress} placeholder="{shown}" {mark}></div>'
        )
    value = f' value="{html.escape(w.label().lower())}"' if w.chance(0.3) else ""
    between = "<br>" if draw < 0.7 else " "
    return f'<div class="line"><label {mark}>{shown}</label>{between}<input type="{kind}" {dress}{value} {mark}></div>'


def _buttons(w: Writer) -> str:
    parts = []
    for number, text in enumerate(w.labels(1, 3)):
        mark, shown = w.mark("button", text), html.escape(text)
        main = number == 0 and w.theme.filled
        dress = w.classes("main", "press main-button") if main else w.classes("button", "press")
        if w.chance(0.2) and (w.framework is None or w.framework.submits):
            parts.append(f'<input type="submit" {dress} value="{shown}" {mark}>')
        else:
            parts.append(f"<button {dress} {mark}>{shown}</button>")
    return f'<div class="line">{" ".join(parts)}</div>'


def _links(w: Writer) -> str:
    between = "<br>" if w.chance(0.4) else " &nbsp; "
    return f'<div class="line">{between.join(_link(w, text) for text in w.labels(1, 4))}</div>'


def _ticks(w: Writer) -> str:
    role = "checkbox" if w.chance(0.6) else "radio"
    between = " " if w.chance(0.3) else "<br>"
    parts = []
    for text in w.labels(1, 4):
        mark = w.mark(role, text)
        on = " checked" if w.chance(0.4) else ""
        parts.append(
            f'<label {mark}><input type="{role}" {w.classes("tick")}{on} {mark}> {html.escape(text)}</label>'
        )
    return f'<div class="line">{between.join(parts)}</div>'


def _tabs(w: Writer) -> str:
    chosen = int(w.rng.integers(3))
    parts = [
        f"<a {w.classes(*('chosen', 'leaf chosen') if number == chosen else ('tab', 'leaf'))} "
        f"{w.mark('tab', text)}>{html.escape(text)}</a>"
        for number, text in enumerate(w.labels(2, 4))
    ]
    return f"<div {w.classes('tabs', 'leaves')}>{''.join(parts)}</div>"


def _menu(w: Writer) -> str:
    parts = [
        f"<li {w.classes('entry')} {w.mark('menu item', text)}>{html.escape(text)}</li>"
        for text in w.labels(2, 4)
    ]
    return f"<ul {w.classes('menu', 'choices')}>{''.join(parts)}</ul>"


def _dropdown(w: Writer) -> str:
    text = w.label()
    dress, shown = w.classes("select"), html.escape(text)
    return f'<div class="line"><select {dress} {w.mark("dropdown", text)}><option>{shown}</option></select></div>'


def _switch(w: Writer) -> str:
    text = w.label()
    mark = w.mark("switch", text)
    on = " on" if w.chance(0.5) else ""
    knob = f'<i class="slider{on}" {mark}><i class="knob" {mark}></i></i>'
    return f'<div class="line">{knob} <label {mark}>{html.escape(text)}</label></div>'


def _signs(w: Writer) -> str:
    return (
        f'<div class="line">{" ".join(_sign(w) for _ in range(int(w.rng.integers(1, 5))))}</div>'
    )


def _sign(w: Writer, meaning: str | None = None) -> str:
    """Return an icon: any, or the one with this meaning."""
    icon = icons()[int(w.rng.integers(len(icons())))]
    if meaning is not None:
        icon = next(icon for icon in icons() if icon.meaning == meaning)
    if f"{icon.meaning} icon" in w.used:
        return ""
    w.used.add(f"{icon.meaning} icon")
    w.controls.append(Control("icon", icon.glyphs, ""))
    sign = icon.unseen if w.unseen else icon.glyphs[int(w.rng.integers(len(icon.glyphs)))]
    framed = " framed" if w.chance(0.3) else ""
    return f'<span class="sign{framed}" data-k="{len(w.controls) - 1}">{sign}</span>'
