"""Rows of controls. Each function draws one into an area, and returns its lower edge, or None if it does not fit."""

from __future__ import annotations

from molmo_point.synthetic.pages.canvas import Box
from molmo_point.synthetic.pages.painter import (
    PagePainter,
    checkmark,
    draw_icon,
    ink_on,
    legible,
)
from molmo_point.synthetic.pages.themes import Rgb
from molmo_point.synthetic.scenes.kinds import kind_of


def field_row(painter: PagePainter, area: Box) -> float | None:
    """A text field with its label above it, beside it or in it."""
    left, top, right, bottom = area
    canvas, theme = painter.canvas, painter.canvas.theme
    height = theme.size * painter.rng.uniform(1.5, 2.2)
    label = painter.label()
    wide = canvas.measure(label, theme.size)
    place = painter.rng.random()
    boxes: list[Box] = []
    if place < 0.4:
        if top + theme.size * 1.5 + height > bottom or left + wide > right:
            return None
        boxes = [
            canvas.write(left, top + theme.size * 0.7, label, theme.ink, style=painter.style(0.3))
        ]
        top += theme.size * 1.5
    elif place < 0.65:
        if left + wide + 4 * theme.size > right:
            return None
        boxes = [canvas.write(left, top + height / 2, label, theme.ink, style=painter.style(0.2))]
        left += wide * 1.15 + theme.size * 0.5
    if top + height > bottom or left + 3 * theme.size > right:
        return None
    reach = min(
        right, left + max(wide + 3 * theme.size, painter.rng.uniform(0.5, 1.0) * (right - left))
    )
    box = (left, top, reach, top + height)
    if theme.family == "material" and painter.rng.random() < 0.5:
        canvas.painter.line(
            [(left, top + height), (reach, top + height)], fill=theme.line, width=1
        )
    else:
        canvas.draw_box(box, theme.panel, theme.line, theme.radius)
    if not boxes:
        if left + wide + 2 * theme.pad > reach:
            return top
        canvas.write(
            left + theme.pad, top + height / 2, label, theme.faint, style=painter.style(0)
        )
    elif painter.rng.random() < 0.4:
        value = painter.label().lower()
        if left + canvas.measure(value, theme.size) + 2 * theme.pad < reach:
            canvas.write(left + theme.pad, top + height / 2, value, theme.ink)
    canvas.add(kind_of("control", "field"), label, (box, *boxes))
    return top + height


def buttons(painter: PagePainter, area: Box) -> float | None:
    """One to four buttons side by side."""
    left, top, right, bottom = area
    canvas, theme = painter.canvas, painter.canvas.theme
    height = theme.size * painter.rng.uniform(1.5, 2.4)
    if top + height > bottom:
        return None
    x = left + (painter.rng.uniform(0, 0.4) * (right - left) if painter.rng.random() < 0.25 else 0)
    for number in range(1 + int(painter.rng.integers(4))):
        label = painter.label()
        shown = label.upper() if theme.capitals else label
        style = painter.style(0.2)
        pad = max(3, theme.pad)
        wide = canvas.measure(shown, theme.size, style) + 2 * pad
        if x + wide > right:
            break
        box = (x, top, x + wide, top + height)
        ink = _button(painter, box, number == 0)
        canvas.write(x + pad, top + height / 2, shown, ink, style=style)
        canvas.add(kind_of("control", "button"), label, (box,))
        x += wide + max(3, theme.size * 0.5)
    return top + height


def _button(painter: PagePainter, box: Box, first: bool) -> Rgb:
    """Draw the box of a button; return the colour of its text."""
    canvas, theme = painter.canvas, painter.canvas.theme
    left, top, right, bottom = box
    if theme.family == "classic":
        canvas.draw_box(box, theme.panel, (60, 60, 60))
        canvas.painter.line(
            [(left + 1, bottom - 2), (left + 1, top + 1), (right - 2, top + 1)],
            fill=(255, 255, 255),
        )
        return (0, 0, 0)
    if theme.raised:
        canvas.draw_box((left + 3, top + 3, right + 3, bottom + 3), (0, 0, 0), None)
    filled = theme.filled and (first or painter.rng.random() < 0.5)
    fill = theme.primary if filled else theme.panel
    line = None if filled and theme.family != "heavy" else theme.line
    canvas.draw_box(box, fill, line, theme.radius)
    return (
        ink_on(fill)
        if filled
        else (theme.ink if painter.rng.random() < 0.6 else legible(theme.primary, fill))
    )


def checks(painter: PagePainter, area: Box) -> float | None:
    """Check boxes or radio buttons with their labels."""
    left, top, right, bottom = area
    canvas, theme = painter.canvas, painter.canvas.theme
    role = "checkbox" if painter.rng.random() < 0.6 else "radio"
    side = max(8, round(theme.size * 0.85))
    step = theme.size * painter.rng.uniform(1.4, 1.9)
    started = False
    for _ in range(1 + int(painter.rng.integers(4))):
        label = painter.label()
        wide = canvas.measure(label, theme.size)
        if top + step > bottom or left + side * 1.5 + wide > right:
            break
        middle = top + step / 2
        box = (left, middle - side / 2, left + side, middle + side / 2)
        on = painter.rng.random() < 0.4
        fill = theme.primary if on else theme.panel
        canvas.draw_box(
            box, fill, theme.line, side / 2 if role == "radio" else min(2, theme.radius)
        )
        if on:
            checkmark(canvas, box, role)
        text = canvas.write(left + side * 1.5, middle, label, theme.ink, style=painter.style(0.05))
        canvas.add(kind_of("control", role), label, (box, text))
        top, started = top + step, True
    return top if started else None


def tabs(painter: PagePainter, area: Box) -> float | None:
    """Tabs side by side on a line, one of them chosen."""
    left, top, right, bottom = area
    canvas, theme = painter.canvas, painter.canvas.theme
    height = theme.size * painter.rng.uniform(1.7, 2.3)
    if top + height > bottom:
        return None
    chosen = int(painter.rng.integers(3))
    x = left
    for number in range(2 + int(painter.rng.integers(3))):
        label = painter.label()
        wide = canvas.measure(label, theme.size) + 2 * theme.pad
        if x + wide > right:
            break
        box = (x, top, x + wide, top + height)
        if number == chosen and theme.border and painter.rng.random() < 0.5:
            canvas.draw_box(box, theme.panel, theme.line)
        ink = theme.ink if number == chosen else theme.faint
        canvas.write(x + theme.pad, top + height / 2, label, ink, style=painter.style(0.1))
        if number == chosen:
            canvas.draw_box((x, top + height - 2, x + wide, top + height), theme.primary, None)
        canvas.add(kind_of("control", "tab"), label, (box,))
        x += wide
    canvas.painter.line([(left, top + height), (right, top + height)], fill=theme.line, width=1)
    return top + height + 1


def menu(painter: PagePainter, area: Box) -> float | None:
    """A list of menu items in a frame."""
    left, top, right, bottom = area
    canvas, theme = painter.canvas, painter.canvas.theme
    step = theme.size * painter.rng.uniform(1.5, 2.1)
    labels = [painter.label() for _ in range(2 + int(painter.rng.integers(4)))]
    wide = max(canvas.measure(label, theme.size) for label in labels) + 2 * theme.pad + theme.size
    labels = labels[: int((bottom - top) / step)]
    if not labels or left + wide > right:
        return None
    canvas.draw_box(
        (left, top, left + wide, top + step * len(labels)), theme.panel, theme.line, theme.radius
    )
    marked = int(painter.rng.integers(8))
    for number, label in enumerate(labels):
        box = (left, top, left + wide, top + step)
        ink = theme.ink
        if number == marked:
            canvas.draw_box(
                (left + 1, top + 1, left + wide - 1, top + step - 1), theme.primary, None
            )
            ink = ink_on(theme.primary)
        canvas.write(left + theme.pad, top + step / 2, label, ink, style=painter.style(0.05))
        canvas.add(kind_of("control", "menu item"), label, (box,))
        top += step
    return top


def dropdown(painter: PagePainter, area: Box) -> float | None:
    """A closed drop-down list with its chosen entry and an arrow."""
    left, top, right, bottom = area
    canvas, theme = painter.canvas, painter.canvas.theme
    label = painter.label()
    height = theme.size * painter.rng.uniform(1.5, 2.1)
    wide = (
        canvas.measure(label, theme.size)
        + 2 * theme.pad
        + theme.size * painter.rng.uniform(1.5, 4)
    )
    if top + height > bottom or left + wide > right:
        return None
    box = (left, top, left + wide, top + height)
    canvas.draw_box(box, theme.panel, theme.line, theme.radius)
    canvas.write(left + theme.pad, top + height / 2, label, theme.ink, style=painter.style(0))
    x, y, size = left + wide - theme.size, top + height / 2, theme.size * 0.25
    canvas.painter.polygon(
        [(x - size, y - size / 2), (x + size, y - size / 2), (x, y + size)], fill=theme.ink
    )
    canvas.add(kind_of("control", "dropdown"), label, (box,))
    return top + height


def switch(painter: PagePainter, area: Box) -> float | None:
    """A sliding switch, its label before or behind it."""
    left, top, right, bottom = area
    canvas, theme = painter.canvas, painter.canvas.theme
    label = painter.label()
    height, wide = theme.size * 1.1, theme.size * 2.0
    text = canvas.measure(label, theme.size)
    if top + height * 1.3 > bottom or left + wide + theme.size + text > right:
        return None
    before = painter.rng.random() < 0.4
    x = left + text + theme.size * 0.7 if before else left
    middle = top + height * 0.65
    box = (x, middle - height / 2, x + wide, middle + height / 2)
    on = painter.rng.random() < 0.5
    canvas.draw_box(box, theme.primary if on else theme.line, None, height)
    knob = x + wide - height + 2 if on else x + 2
    canvas.painter.ellipse((knob, box[1] + 2, knob + height - 4, box[3] - 2), fill=(255, 255, 255))
    start = left if before else x + wide + theme.size * 0.7
    written = canvas.write(start, middle, label, theme.ink, style=painter.style(0.05))
    canvas.add(kind_of("control", "switch"), label, (box, written))
    return top + height * 1.3


def icons(painter: PagePainter, area: Box) -> float | None:
    """Icons side by side, bare or as buttons."""
    left, top, right, bottom = area
    theme = painter.canvas.theme
    size = round(theme.size * painter.rng.uniform(1.1, 1.9))
    if top + size * 1.4 > bottom:
        return None
    x = left
    for _ in range(1 + int(painter.rng.integers(5))):
        end = draw_icon(painter, x, top + size * 0.7, size, theme.ink, right)
        if end <= x:
            break
        x = end + theme.size * 0.6
    return top + size * 1.4 if x > left else None
