"""Rows of text and links. Each function draws one into an area, and returns its lower edge, or None if it does not fit."""

from __future__ import annotations

from molmo_point.synthetic.pages.canvas import Box
from molmo_point.synthetic.pages.painter import (
    PagePainter,
    draw_icon,
    ink_on,
    write_control,
)
from molmo_point.synthetic.pages.themes import Rgb
from molmo_point.synthetic.scenes.kinds import kind_of


def bar(painter: PagePainter) -> float:
    """Draw a bar along the top with a title and links or icons; return its lower edge."""
    canvas, theme = painter.canvas, painter.canvas.theme
    height = round(theme.size * painter.rng.uniform(1.8, 2.8))
    loud = painter.rng.random() < 0.6
    ink: Rgb = ink_on(theme.primary) if loud else theme.ink
    canvas.draw_box((0, 0, canvas.width, height), theme.primary if loud else theme.panel, None)
    x = 6.0
    if painter.rng.random() < 0.6:
        x = write_control(
            painter, "heading", x, height / 2, painter.label(), ink, "bold", canvas.width
        )
    while painter.rng.random() < 0.85:
        x += theme.size
        if painter.rng.random() < 0.35:
            end = draw_icon(painter, x, height / 2, round(theme.size * 1.3), ink, canvas.width)
        else:
            end = write_control(
                painter, "link", x, height / 2, painter.label(), ink, painter.style(), canvas.width
            )
        if end <= x:
            break
        x = end
    return float(height)


def heading(painter: PagePainter, area: Box) -> float | None:
    """A line of large text."""
    left, top, right, bottom = area
    size = round(painter.canvas.theme.size * painter.rng.uniform(1.1, 1.7))
    if top + size * 1.3 > bottom:
        return None
    text = painter.label()
    style = "bold" if painter.rng.random() < 0.7 else "plain"
    if left + painter.canvas.measure(text, size, style) > right:
        return None
    box = painter.canvas.write(
        left, top + size * 0.65, text, painter.canvas.theme.ink, size=size, style=style
    )
    painter.canvas.add(kind_of("control", "heading"), text, (box,))
    return top + size * 1.3


def paragraph(painter: PagePainter, area: Box) -> float | None:
    """Text that is not a control, sometimes with a link in it."""
    left, top, right, bottom = area
    canvas, theme = painter.canvas, painter.canvas.theme
    lines = 1 + int(painter.rng.integers(3))
    step = theme.size * painter.rng.uniform(1.2, 1.6)
    ink = theme.ink if painter.rng.random() < 0.6 else theme.faint
    for _ in range(lines):
        if top + step > bottom:
            return top
        x = left
        while True:
            linked = painter.rng.random() < 0.12
            word = painter.label() if linked else painter.label().lower()
            wide = canvas.measure(word, theme.size)
            if x + wide > right:
                break
            colour = theme.link if linked else ink
            box = canvas.write(
                x, top + step / 2, word, colour, underlined=linked and theme.underlined
            )
            if linked:
                canvas.add(kind_of("control", "link"), word, (box,))
            x += wide + theme.size * 0.35
        top += step
    return top


def links(painter: PagePainter, area: Box) -> float | None:
    """Links side by side, or below each other."""
    left, top, right, bottom = area
    theme = painter.canvas.theme
    step = theme.size * painter.rng.uniform(1.3, 1.8)
    below = painter.rng.random() < 0.4
    x, started = left, False
    for _ in range(1 + int(painter.rng.integers(4))):
        if top + step > bottom:
            break
        end = write_control(
            painter,
            "link",
            x,
            top + step / 2,
            painter.label(),
            theme.link,
            painter.style(0.1),
            right,
        )
        if end <= x:
            break
        started = True
        if below:
            top += step
        else:
            x = end + theme.size
    return (top if below else top + step) if started else None


def words(painter: PagePainter, area: Box) -> float | None:
    """A line full of labels, each a link or a heading."""
    left, top, right, bottom = area
    theme = painter.canvas.theme
    step = theme.size * painter.rng.uniform(1.15, 2.0)
    x, ink = left, theme.ink if painter.rng.random() < 0.6 else theme.link
    role, style = (
        ("heading", "bold") if painter.rng.random() < 0.2 else ("link", painter.style(0.15))
    )
    if top + step > bottom:
        return None
    for _ in range(20):
        end = write_control(painter, role, x, top + step / 2, painter.label(), ink, style, right)
        if end > x:
            x = end + theme.size * painter.rng.uniform(0.4, 1.2)
        elif right - x < 4 * theme.size:
            break
    return top + step
