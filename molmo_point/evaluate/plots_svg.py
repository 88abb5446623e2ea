"""Plots as SVG text, for a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

INK, GOOD, BAD = "#1f2937", "#2563eb", "#b91c1c"


def _svg(width: int, height: int, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="{INK}">{escape(words)}</text>'


def _line(x0: float, y0: float, x1: float, y1: float, colour: str = INK, width: float = 1) -> str:
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def bars(rows: Sequence[tuple[str, float, float, float, int]], title: str) -> str:
    """Return horizontal bars with their intervals.

    Args:
        rows: (name, value, low, high, number of items) of each; values 0-1.
    """
    left, across, step = 190, 300, 24
    parts = []
    for number, (name, value, low, high, items) in enumerate(rows):
        y = 8 + number * step
        shown = name if len(name) <= 26 else name[:25] + "…"
        parts += [
            _text(left - 8, y + 12, shown, "end"),
            f'<rect x="{left}" y="{y}" width="{max(0.0, value) * across:.1f}" height="15" fill="{GOOD}" opacity="0.55"/>',
            _line(left + low * across, y + 7.5, left + high * across, y + 7.5, INK, 1.5),
            _text(left + across + 10, y + 12, f"{value:.1%} of {items:,}"),
        ]
    base = 8 + len(rows) * step
    parts.append(_line(left, base, left + across, base))
    parts += [
        _text(left + across * tick, base + 15, f"{tick:.0%}", "middle") for tick in (0, 0.5, 1)
    ]
    return _svg(left + across + 130, base + 22, parts, title)


def reliability(bins: Sequence[tuple[float, float, int]], title: str) -> str:
    """Return the share of hits against the score, a circle for each bin with an area in proportion to its points.

    Args:
        bins: (mean score, share of hits, points).
    """
    side, left, top = 240, 44, 10
    most = max((count for _, _, count in bins), default=1)
    parts = [
        f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="none" stroke="{INK}"/>',
        _line(left, top + side, left + side, top, "#9ca3af"),
        _text(left + side / 2, top + side + 32, "score", "middle"),
    ]
    for tick in (0.0, 0.5, 1.0):
        parts.append(_text(left + tick * side, top + side + 16, f"{tick:g}", "middle"))
        parts.append(_text(left - 6, top + side - tick * side + 4, f"{tick:g}", "end"))
    for score, share, count in bins:
        radius = 3 + 9 * (count / most) ** 0.5
        parts.append(
            f'<circle cx="{left + score * side:.1f}" cy="{top + side - share * side:.1f}" r="{radius:.1f}" fill="{GOOD}" '
            f'opacity="0.6"><title>{count} points: mean score {score:.3f}, share of hits {share:.3f}</title></circle>'
        )
    return _svg(left + side + 20, top + side + 40, parts, title)


def counts(pairs: Sequence[tuple[int, int]], title: str) -> str:
    """Return answered against true counts; equal pairs share a circle with an area in proportion to their number.

    Args:
        pairs: (true count, answered count) of each question.
    """
    side, left, top = 240, 44, 10
    most = max((max(pair) for pair in pairs), default=1) or 1
    tally = {pair: pairs.count(pair) for pair in dict.fromkeys(pairs)}
    parts = [
        f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="none" stroke="{INK}"/>',
        _line(left, top + side, left + side, top, "#9ca3af"),
        _text(left + side / 2, top + side + 32, "true count", "middle"),
    ]
    for tick in dict.fromkeys((0, most // 2, most)):
        parts.append(_text(left + tick / most * side, top + side + 16, str(tick), "middle"))
        parts.append(_text(left - 6, top + side - tick / most * side + 4, str(tick), "end"))
    for (true, said), number in tally.items():
        radius = min(14.0, 2 + 2 * number**0.5)
        colour = GOOD if true == said else BAD
        parts.append(
            f'<circle cx="{left + true / most * side:.1f}" cy="{top + side - said / most * side:.1f}" r="{radius:.1f}" '
            f'fill="{colour}" opacity="0.6"><title>{number} times: {true} counted as {said}</title></circle>'
        )
    return _svg(left + side + 20, top + side + 40, parts, title)


def marks(
    answer: Sequence[tuple[float, float, bool]],
    centers: Sequence[tuple[float, float]],
    size: tuple[int, int],
) -> str:
    """Return the marks of one case, to lie on its image: rings where things are, dots where the answer points.

    Args:
        answer: (x, y, whether it is on a thing), `norm`.
        centers: Of the things, (x, y) `norm`.
        size: (width, height) of the shown image in pixels.
    """
    width, height = size
    parts = [
        f'<circle cx="{x * width:.1f}" cy="{y * height:.1f}" r="9" fill="none" stroke="white" stroke-width="4"/>'
        f'<circle cx="{x * width:.1f}" cy="{y * height:.1f}" r="9" fill="none" stroke="{INK}" stroke-width="2"/>'
        for x, y in centers
    ]
    parts += [
        f'<circle cx="{x * width:.1f}" cy="{y * height:.1f}" r="5" fill="{GOOD if on else BAD}" stroke="white" stroke-width="2"/>'
        for x, y, on in answer
    ]
    return _svg(width, height, parts, f"{len(answer)} points of the answer, {len(centers)} things")
