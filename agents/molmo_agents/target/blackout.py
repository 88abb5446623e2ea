"""Where a page paints a secret: boxes to black out in screenshots.

Read from the browser's own layout (`DOMSnapshot`), which knows every text that is painted: in closed shadow roots, from
`content: attr()`, letter by letter in elements of their own. Texts that follow each other are searched as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from molmo_agents.browser.cdp import IsolatedWorlds
from molmo_agents.browser.documents import IsolatedWorld
from molmo_agents.drivers.steps import Steps
from molmo_agents.masker import SecretRedactor
from molmo_agents.playwright_types import CdpSession, Json
from molmo_agents.screen import Box
from molmo_agents.target.paint_copies import STYLES, PaintCopies

MARGIN = 300.0
"""Texts so far outside of the viewport, CSS px, are still read: what begins there may end inside."""

LINE = 4.0
"""Texts whose middles and heights differ by less than about this, CSS px, are in one line."""

Layouts = dict[CdpSession, dict[str, Json]]
"""CDP session -> frame -> its document's layout, so that frames of one process are asked for once."""


@dataclass(frozen=True)
class Piece:
    """A painted text, or a part of it that lies in one line, and where that is in its document's viewport."""

    text: str
    box: Box
    field: bool = False
    canvas: bool = False
    copies: tuple[Box, ...] = ()


def painted(
    worlds: IsolatedWorlds,
    world: IsolatedWorld,
    state: Json,
    masker: SecretRedactor,
    layouts: Layouts,
    canvases: bool = False,
) -> Steps[list[Box]]:
    """Return the boxes of a document, in CSS px of its own viewport, in which a secret is painted; with `canvases` those, too."""
    if world.session not in layouts:
        layouts[world.session] = yield from _layouts(worlds, world.session)
    layout = layouts[world.session].get(world.frame_id)
    if layout is None:
        return []
    width, height = state["viewport"]
    near = Box(-MARGIN, -MARGIN, width + 2 * MARGIN, height + 2 * MARGIN)
    pieces = [
        piece
        for piece in _pieces(layout, state)
        if any(_meets(box, near) for box in (piece.box, *piece.copies))
    ]
    boxes = _found(pieces, masker)
    # One field per character, with labels between them.
    boxes += _found([piece for piece in pieces if piece.field], masker)
    # Letters in another order than in the tree: readings over them, reversed or placed one by one; columns of a table.
    for reading in _readings(pieces):
        boxes += _found(reading, masker)
    if canvases:
        boxes += [piece.box for piece in pieces if piece.canvas]
    return list(dict.fromkeys(boxes))


def _readings(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces as they are painted: lines from left to right, and columns, by their left edges or middles, downwards."""

    def line(box: Box) -> tuple[int, int]:
        return round((box.y + box.height / 2) / LINE), round(box.height / LINE)

    def edge(box: Box) -> tuple[int, int]:
        return round(box.x / LINE), 0

    def middle(box: Box) -> tuple[int, int]:
        return round((box.x + box.width / 2) / LINE), 0

    for place, downwards in ((line, False), (edge, True), (middle, True)):
        groups: dict[tuple[int, int], list[Piece]] = {}
        for piece in pieces:
            groups.setdefault(place(piece.box), []).append(piece)
        yield [
            piece
            for key in sorted(groups)
            for piece in sorted(groups[key], key=lambda one: one.box.y if downwards else one.box.x)
        ]


def _found(pieces: list[Piece], masker: SecretRedactor) -> list[Box]:
    starts: list[int] = []
    length = 0
    for piece in pieces:
        starts.append(length)
        length += len(piece.text)
    boxes: list[Box] = []
    for begin, end in masker.spans("".join(piece.text for piece in pieces)):
        for start, piece in zip(starts, pieces, strict=True):
            if start < end and begin < start + len(piece.text):
                boxes += [piece.box, *piece.copies]
    return boxes


def _meets(a: Box, b: Box) -> bool:
    return (
        a.x < b.x + b.width
        and b.x < a.x + a.width
        and a.y < b.y + b.height
        and b.y < a.y + a.height
    )


def _layouts(worlds: IsolatedWorlds, session: CdpSession) -> Steps[dict[str, Json]]:
    shot = yield from worlds.send(session, "DOMSnapshot.captureSnapshot", computedStyles=STYLES)
    strings = shot["strings"]
    return {
        strings[document["frameId"]]: {**document, "strings": strings}
        for document in shot["documents"]
    }


def _pieces(layout: Json, state: Json) -> Iterator[Piece]:
    """Yield what a document paints, in the order of its tree."""
    strings, nodes, shown = layout["strings"], layout["nodes"], layout["layout"]
    scale = _scale(shown, state)
    dx, dy = layout.get("scrollOffsetX", 0), layout.get("scrollOffsetY", 0)

    def place(bounds: list[float]) -> Box:
        x, y, width, height = (value / scale for value in bounds)
        return Box(x - dx / scale, y - dy / scale, width, height)

    painted_again = PaintCopies(layout)

    def piece(node: int, text: str, bounds: list[float], field: bool = False) -> Piece:
        copies = tuple(place(again) for again in painted_again.of(node, bounds))
        return Piece(text, place(bounds), field=field, copies=copies)

    lines: dict[int, list[tuple[int, int, list[float]]]] = {}
    boxes = layout["textBoxes"]
    for index, bounds, start, length in zip(
        boxes["layoutIndex"], boxes["bounds"], boxes["start"], boxes["length"], strict=True
    ):
        lines.setdefault(index, []).append((start, start + length, bounds))
    values = _values(nodes, strings)
    for index, (node, text, bounds) in enumerate(
        zip(shown["nodeIndex"], shown["text"], shown["bounds"], strict=True)
    ):
        if text >= 0:
            # Offsets count UTF-16 units.
            units = strings[text].encode("utf-16-le", "surrogatepass")
            for start, end, box in lines.get(index, [(0, len(units), bounds)]):
                part = units[2 * start : 2 * end].decode("utf-16-le", "replace")
                yield piece(node, part, box)
        elif node in values:
            yield piece(node, values[node], bounds, field=True)
        elif strings[nodes["nodeName"][node]] == "CANVAS":
            yield Piece("", place(bounds), canvas=True)


def _scale(shown: Json, state: Json) -> float:
    """Layout units per CSS px: 1, or the screen's own scale where the browser lays out in device pixels."""
    root, dpr = shown["bounds"][0][2], float(state["dpr"])
    width = float(state["viewport"][0]) or 1.0
    return min((1.0, dpr), key=lambda scale: abs(root / width - scale))


def _values(nodes: Json, strings: list[str]) -> dict[int, str]:
    """Texts that elements paint without a text of their own in the tree: values, placeholders, options, `alt`."""
    values: dict[int, str] = {}
    for kind in ("inputValue", "textValue"):
        for node, text in zip(nodes[kind]["index"], nodes[kind]["value"], strict=True):
            values[node] = strings[text] if text >= 0 else ""
    for node, attributes in enumerate(nodes["attributes"]):
        for name, value in zip(attributes[::2], attributes[1::2], strict=True):
            if strings[name] in ("placeholder", "alt") and not values.get(node):
                values[node] = strings[value]
    for node, text in _drawn_elsewhere(nodes, strings):
        values[node] = values.get(node, "") + text
    return {node: text for node, text in values.items() if text}


def _drawn_elsewhere(nodes: Json, strings: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the texts of lists' options and groups with the list and with themselves, and of what an SVG `use` repeats."""
    parents, names = nodes["parentIndex"], [strings[name].upper() for name in nodes["nodeName"]]
    texts = {n: strings[t] for n, t in enumerate(nodes["nodeValue"]) if t >= 0}

    def up(node: int, name: str) -> int:
        while node >= 0 and names[node] != name:
            node = parents[node]
        return node

    for node, text in texts.items():
        if parents[node] >= 0 and names[parents[node]] == "OPTION":
            yield up(node, "SELECT"), text
    ids: dict[str, int] = {}
    given = [
        {strings[name]: strings[value] for name, value in zip(a[::2], a[1::2], strict=True)}
        for a in nodes["attributes"]
    ]
    for node, attributes in enumerate(given):
        ids.setdefault(attributes.get("id", ""), node)
        if names[node] in ("OPTION", "OPTGROUP") and "label" in attributes:
            yield node, attributes["label"]
            yield up(node, "SELECT"), attributes["label"]
    for node, attributes in enumerate(given):
        named = attributes.get("href", attributes.get("xlink:href", ""))
        source = ids.get(named[1:], -1) if names[node] == "USE" and named.startswith("#") else -1
        if source >= 0:
            within = (text for n, text in texts.items() if _inside(n, source, parents))
            yield node, "".join(within)


def _inside(node: int, outer: int, parents: list[int]) -> bool:
    while node > outer:
        node = parents[node]
    return node == outer


def strips(seen: list[list[Box]], viewport: tuple[float, float]) -> list[Box]:
    """Return boxes that cover what moves: `seen` are the masks of several moments in a row.

    Boxes that stayed are kept. What moved within a line or a column makes that black from edge to edge; what moved freely
    makes the whole viewport black.
    """
    kept = [box for box in seen[0] if all(box in other for other in seen[1:])]
    moved = [box for boxes in seen for box in boxes if box not in kept]
    if not moved:
        return kept
    top, bottom = min(b.y for b in moved), max(b.y + b.height for b in moved)
    left, right = min(b.x for b in moved), max(b.x + b.width for b in moved)
    if all(abs(b.y - moved[0].y) <= 1 for b in moved):
        return [*kept, Box(0, top, viewport[0], bottom - top)]
    if all(abs(b.x - moved[0].x) <= 1 for b in moved):
        return [*kept, Box(left, 0, right - left, viewport[1])]
    return [*kept, Box(0, 0, *viewport)]
