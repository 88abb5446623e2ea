"""Rows of controls. Each function draws one into (left, top, right, bottom), and returns where it ends, None if none fits."""

from __future__ import annotations

from molmo_point.synthetic.pages.pen import (
    PagePainter,
    ink_on,
    legible,
    tick,
    write_control,
    write_sign,
)
from molmo_point.synthetic.pages.sheet import Box
from molmo_point.synthetic.pages.themes import Rgb
from molmo_point.synthetic.scenes.kinds import kind_of


def bar(pen: PagePainter) -> float:
    """A bar along the top with a title and links or icons; returns its lower edge."""
    sheet, look = pen.sheet, pen.sheet.look
    height = round(look.size * pen.rng.uniform(1.8, 2.8))
    loud = pen.rng.random() < 0.6
    ink: Rgb = ink_on(look.primary) if loud else look.ink
    sheet.plate((0, 0, sheet.width, height), look.primary if loud else look.panel, None)
    x = 6.0
    if pen.rng.random() < 0.6:
        x = write_control(pen, "heading", x, height / 2, pen.label(), ink, "bold", sheet.width)
    while pen.rng.random() < 0.85:
        x += look.size
        if pen.rng.random() < 0.35:
            end = write_sign(pen, x, height / 2, round(look.size * 1.3), ink, sheet.width)
        else:
            end = write_control(
                pen, "link", x, height / 2, pen.label(), ink, pen.style(), sheet.width
            )
        if end <= x:
            break
        x = end
    return float(height)


def heading(
    pen: PagePainter, left: float, top: float, right: float, bottom: float
) -> float | None:
    """A line of large text."""
    size = round(pen.sheet.look.size * pen.rng.uniform(1.1, 1.7))
    if top + size * 1.3 > bottom:
        return None
    text = pen.label()
    style = "bold" if pen.rng.random() < 0.7 else "plain"
    if left + pen.sheet.measure(text, size, style) > right:
        return None
    box = pen.sheet.write(
        left, top + size * 0.65, text, pen.sheet.look.ink, size=size, style=style
    )
    pen.sheet.add(kind_of("control", "heading"), text, (box,))
    return top + size * 1.3


def paragraph(
    pen: PagePainter, left: float, top: float, right: float, bottom: float
) -> float | None:
    """Text that is no control, now and then with a link in it."""
    sheet, look = pen.sheet, pen.sheet.look
    lines = 1 + int(pen.rng.integers(3))
    step = look.size * pen.rng.uniform(1.2, 1.6)
    ink = look.ink if pen.rng.random() < 0.6 else look.faint
    for _ in range(lines):
        if top + step > bottom:
            return top
        x = left
        while True:
            linked = pen.rng.random() < 0.12
            word = pen.label() if linked else pen.label().lower()
            wide = sheet.measure(word, look.size)
            if x + wide > right:
                break
            colour = look.link if linked else ink
            box = sheet.write(
                x, top + step / 2, word, colour, underlined=linked and look.underlined
            )
            if linked:
                sheet.add(kind_of("control", "link"), word, (box,))
            x += wide + look.size * 0.35
        top += step
    return top


def field_row(
    pen: PagePainter, left: float, top: float, right: float, bottom: float
) -> float | None:
    """A text field with its label above it, beside it or in it."""
    sheet, look = pen.sheet, pen.sheet.look
    height = look.size * pen.rng.uniform(1.5, 2.2)
    label = pen.label()
    wide = sheet.measure(label, look.size)
    place = pen.rng.random()
    boxes: list[Box] = []
    if place < 0.4:
        if top + look.size * 1.5 + height > bottom or left + wide > right:
            return None
        boxes = [sheet.write(left, top + look.size * 0.7, label, look.ink, style=pen.style(0.3))]
        top += look.size * 1.5
    elif place < 0.65:
        if left + wide + 4 * look.size > right:
            return None
        boxes = [sheet.write(left, top + height / 2, label, look.ink, style=pen.style(0.2))]
        left += wide * 1.15 + look.size * 0.5
    if top + height > bottom or left + 3 * look.size > right:
        return None
    reach = min(
        right, left + max(wide + 3 * look.size, pen.rng.uniform(0.5, 1.0) * (right - left))
    )
    box = (left, top, reach, top + height)
    if look.family == "material" and pen.rng.random() < 0.5:
        sheet.pen.line([(left, top + height), (reach, top + height)], fill=look.line, width=1)
    else:
        sheet.plate(box, look.panel, look.line, look.radius)
    if not boxes:
        if left + wide + 2 * look.pad > reach:
            return top
        sheet.write(left + look.pad, top + height / 2, label, look.faint, style=pen.style(0))
    elif pen.rng.random() < 0.4:
        value = pen.label().lower()
        if left + sheet.measure(value, look.size) + 2 * look.pad < reach:
            sheet.write(left + look.pad, top + height / 2, value, look.ink)
    sheet.add(kind_of("control", "field"), label, (box, *boxes))
    return top + height


def buttons(
    pen: PagePainter, left: float, top: float, right: float, bottom: float
) -> float | None:
    """One to four buttons side by side."""
    sheet, look = pen.sheet, pen.sheet.look
    height = look.size * pen.rng.uniform(1.5, 2.4)
    if top + height > bottom:
        return None
    x = left + (pen.rng.uniform(0, 0.4) * (right - left) if pen.rng.random() < 0.25 else 0)
    for number in range(1 + int(pen.rng.integers(4))):
        label = pen.label()
        shown = label.upper() if look.capitals else label
        style = pen.style(0.2)
        pad = max(3, look.pad)
        wide = sheet.measure(shown, look.size, style) + 2 * pad
        if x + wide > right:
            break
        box = (x, top, x + wide, top + height)
        ink = _button(pen, box, number == 0)
        sheet.write(x + pad, top + height / 2, shown, ink, style=style)
        sheet.add(kind_of("control", "button"), label, (box,))
        x += wide + max(3, look.size * 0.5)
    return top + height


def _button(pen: PagePainter, box: Box, first: bool) -> Rgb:
    """Draw a button's plate; return the colour to write on it with."""
    sheet, look = pen.sheet, pen.sheet.look
    left, top, right, bottom = box
    if look.family == "classic":
        sheet.plate(box, look.panel, (60, 60, 60))
        sheet.pen.line(
            [(left + 1, bottom - 2), (left + 1, top + 1), (right - 2, top + 1)],
            fill=(255, 255, 255),
        )
        return (0, 0, 0)
    if look.raised:
        sheet.plate((left + 3, top + 3, right + 3, bottom + 3), (0, 0, 0), None)
    filled = look.filled and (first or pen.rng.random() < 0.5)
    fill = look.primary if filled else look.panel
    line = None if filled and look.family != "heavy" else look.line
    sheet.plate(box, fill, line, look.radius)
    return (
        ink_on(fill)
        if filled
        else (look.ink if pen.rng.random() < 0.6 else legible(look.primary, fill))
    )


def links(pen: PagePainter, left: float, top: float, right: float, bottom: float) -> float | None:
    """Links side by side, or below each other."""
    look = pen.sheet.look
    step = look.size * pen.rng.uniform(1.3, 1.8)
    below = pen.rng.random() < 0.4
    x, started = left, False
    for _ in range(1 + int(pen.rng.integers(4))):
        if top + step > bottom:
            break
        end = write_control(
            pen, "link", x, top + step / 2, pen.label(), look.link, pen.style(0.1), right
        )
        if end <= x:
            break
        started = True
        if below:
            top += step
        else:
            x = end + look.size
    return (top if below else top + step) if started else None


def words(pen: PagePainter, left: float, top: float, right: float, bottom: float) -> float | None:
    """A line full of labels, each a link or a heading."""
    look = pen.sheet.look
    step = look.size * pen.rng.uniform(1.15, 2.0)
    x, ink = left, look.ink if pen.rng.random() < 0.6 else look.link
    role, style = ("heading", "bold") if pen.rng.random() < 0.2 else ("link", pen.style(0.15))
    if top + step > bottom:
        return None
    for _ in range(20):
        end = write_control(pen, role, x, top + step / 2, pen.label(), ink, style, right)
        if end > x:
            x = end + look.size * pen.rng.uniform(0.4, 1.2)
        elif right - x < 4 * look.size:
            break
    return top + step


def ticks(pen: PagePainter, left: float, top: float, right: float, bottom: float) -> float | None:
    """Check boxes or radio buttons with their labels."""
    sheet, look = pen.sheet, pen.sheet.look
    role = "checkbox" if pen.rng.random() < 0.6 else "radio"
    side = max(8, round(look.size * 0.85))
    step = look.size * pen.rng.uniform(1.4, 1.9)
    started = False
    for _ in range(1 + int(pen.rng.integers(4))):
        label = pen.label()
        wide = sheet.measure(label, look.size)
        if top + step > bottom or left + side * 1.5 + wide > right:
            break
        middle = top + step / 2
        box = (left, middle - side / 2, left + side, middle + side / 2)
        on = pen.rng.random() < 0.4
        fill = look.primary if on else look.panel
        sheet.plate(box, fill, look.line, side / 2 if role == "radio" else min(2, look.radius))
        if on:
            tick(sheet, box, role)
        text = sheet.write(left + side * 1.5, middle, label, look.ink, style=pen.style(0.05))
        sheet.add(kind_of("control", role), label, (box, text))
        top, started = top + step, True
    return top if started else None


def tabs(pen: PagePainter, left: float, top: float, right: float, bottom: float) -> float | None:
    """Tabs side by side on a line, one of them chosen."""
    sheet, look = pen.sheet, pen.sheet.look
    height = look.size * pen.rng.uniform(1.7, 2.3)
    if top + height > bottom:
        return None
    chosen = int(pen.rng.integers(3))
    x = left
    for number in range(2 + int(pen.rng.integers(3))):
        label = pen.label()
        wide = sheet.measure(label, look.size) + 2 * look.pad
        if x + wide > right:
            break
        box = (x, top, x + wide, top + height)
        if number == chosen and look.border and pen.rng.random() < 0.5:
            sheet.plate(box, look.panel, look.line)
        ink = look.ink if number == chosen else look.faint
        sheet.write(x + look.pad, top + height / 2, label, ink, style=pen.style(0.1))
        if number == chosen:
            sheet.plate((x, top + height - 2, x + wide, top + height), look.primary, None)
        sheet.add(kind_of("control", "tab"), label, (box,))
        x += wide
    sheet.pen.line([(left, top + height), (right, top + height)], fill=look.line, width=1)
    return top + height + 1


def menu(pen: PagePainter, left: float, top: float, right: float, bottom: float) -> float | None:
    """A list of menu items in a frame."""
    sheet, look = pen.sheet, pen.sheet.look
    step = look.size * pen.rng.uniform(1.5, 2.1)
    labels = [pen.label() for _ in range(2 + int(pen.rng.integers(4)))]
    wide = max(sheet.measure(label, look.size) for label in labels) + 2 * look.pad + look.size
    labels = labels[: int((bottom - top) / step)]
    if not labels or left + wide > right:
        return None
    sheet.plate(
        (left, top, left + wide, top + step * len(labels)), look.panel, look.line, look.radius
    )
    marked = int(pen.rng.integers(8))
    for number, label in enumerate(labels):
        box = (left, top, left + wide, top + step)
        ink = look.ink
        if number == marked:
            sheet.plate((left + 1, top + 1, left + wide - 1, top + step - 1), look.primary, None)
            ink = ink_on(look.primary)
        sheet.write(left + look.pad, top + step / 2, label, ink, style=pen.style(0.05))
        sheet.add(kind_of("control", "menu item"), label, (box,))
        top += step
    return top


def dropdown(
    pen: PagePainter, left: float, top: float, right: float, bottom: float
) -> float | None:
    """A closed list with what is chosen in it, and an arrow."""
    sheet, look = pen.sheet, pen.sheet.look
    label = pen.label()
    height = look.size * pen.rng.uniform(1.5, 2.1)
    wide = sheet.measure(label, look.size) + 2 * look.pad + look.size * pen.rng.uniform(1.5, 4)
    if top + height > bottom or left + wide > right:
        return None
    box = (left, top, left + wide, top + height)
    sheet.plate(box, look.panel, look.line, look.radius)
    sheet.write(left + look.pad, top + height / 2, label, look.ink, style=pen.style(0))
    x, y, size = left + wide - look.size, top + height / 2, look.size * 0.25
    sheet.pen.polygon(
        [(x - size, y - size / 2), (x + size, y - size / 2), (x, y + size)], fill=look.ink
    )
    sheet.add(kind_of("control", "dropdown"), label, (box,))
    return top + height


def switch(pen: PagePainter, left: float, top: float, right: float, bottom: float) -> float | None:
    """A sliding switch, its label before or behind it."""
    sheet, look = pen.sheet, pen.sheet.look
    label = pen.label()
    height, wide = look.size * 1.1, look.size * 2.0
    text = sheet.measure(label, look.size)
    if top + height * 1.3 > bottom or left + wide + look.size + text > right:
        return None
    before = pen.rng.random() < 0.4
    x = left + text + look.size * 0.7 if before else left
    middle = top + height * 0.65
    box = (x, middle - height / 2, x + wide, middle + height / 2)
    on = pen.rng.random() < 0.5
    sheet.plate(box, look.primary if on else look.line, None, height)
    knob = x + wide - height + 2 if on else x + 2
    sheet.pen.ellipse((knob, box[1] + 2, knob + height - 4, box[3] - 2), fill=(255, 255, 255))
    start = left if before else x + wide + look.size * 0.7
    written = sheet.write(start, middle, label, look.ink, style=pen.style(0.05))
    sheet.add(kind_of("control", "switch"), label, (box, written))
    return top + height * 1.3


def signs(pen: PagePainter, left: float, top: float, right: float, bottom: float) -> float | None:
    """Icons side by side, bare or as buttons."""
    look = pen.sheet.look
    size = round(look.size * pen.rng.uniform(1.1, 1.9))
    if top + size * 1.4 > bottom:
        return None
    x = left
    for _ in range(1 + int(pen.rng.integers(5))):
        end = write_sign(pen, x, top + size * 0.7, size, look.ink, right)
        if end <= x:
            break
        x = end + look.size * 0.6
    return top + size * 1.4 if x > left else None
