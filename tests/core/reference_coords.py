"""How the reference implementation of Molmo 2 reads points, bugs included, so that our numbers compare with published ones.

Not a parser to build on: it searches for anything that looks like a point, skips what does not, and ignores which image a point
belongs to. `molmo_point.markup.parse_coords` is the one that products use. The golden data in tests/golden/molmo2/points shows
every oddity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

Pixels = list[tuple[float, float]]
"""(x, y) in continuous pixels of the image."""

Named = tuple[float, str, float, float]
"""(image number or seconds, the point's id as written, x, y)."""

_COORDS = re.compile(r'<(?:points|tracks).*? coords="([0-9\t:;, .]+)"/?>')
_FRAME = re.compile(r"(?:^|\t|:|,|;)([0-9\.]+) ([0-9\. ]+)")
_POINT = re.compile(r"([0-9]+) ([0-9]{3,4}) ([0-9]{3,4})")

_OLDER = (
    (re.compile(r"Click\(([0-9]+\.[0-9]), ?([0-9]+\.[0-9])\)"),),
    (re.compile(r"[0-9]+ ([0-9]{3}) ([0-9]{3})"),),
    (re.compile(r"[0-9]+ ([0-9]+\.[0-9]) ([0-9]+\.[0-9])"),),
    (
        re.compile(r"\(([0-9]+\.[0-9]),? ?([0-9]+\.[0-9])\)"),
        re.compile(r'x\d*="\s*([0-9]+(?:\.[0-9]+)?)"\s+y\d*="\s*([0-9]+(?:\.[0-9]+)?)"'),
        re.compile(r"(?:\d+|p)\s*=\s*([0-9]{3})\s*,\s*([0-9]{3})"),
    ),
)
"""Older forms, tried group by group; the first group that finds points is the last that is tried."""

_BLOCK = re.compile(r"<points\s+([^/>]*?)\s*/>")


def extract_points(text: str, width: float, height: float) -> Pixels:
    """Collect the points of coords, whatever image they belong to; where there are none, those of the first older form."""
    points = [(x, y) for _, _, x, y in unified(text, width, height)]
    for group in _OLDER if not points else ():
        points = [
            (x / 100 * width, y / 100 * height)
            for pattern in group
            for x, y in _percents(pattern, text)
        ]
        if points:
            break
    return points


def extract_multi_image_points(
    text: str, width: float, height: float
) -> list[tuple[float, float, float]]:
    """Collect (image number or seconds, x, y) of coords; where there are none, of `<points 0.5 1 10.0 20.0/>`."""
    points = [(frame, x, y) for frame, _, x, y in unified(text, width, height)]
    if points:
        return points
    try:
        return [point for block in _BLOCK.findall(text) for point in _block(block, width, height)]
    except (ValueError, IndexError):
        return []


def unified(text: str, width: float, height: float) -> list[Named]:
    """Collect the points of all coords attributes, with ids. Points beyond an edge are left out one by one."""
    return [
        (float(frame), *point)
        for frame, points in _frames(text)
        for point in _in_image(points, width, height)
    ]


def any_points(
    text: str, sizes: Sequence[tuple[float, float]]
) -> list[tuple[int, float, float, float]]:
    """Collect (id, image, x, y): of one image with its written number, of several with its index from 0.

    Raises:
        ValueError, IndexError: With several images, a number that is no whole one, or of no image.
    """
    if len(sizes) == 1:
        return [(int(index), frame, x, y) for frame, index, x, y in unified(text, *sizes[0])]
    found = []
    for frame, points in _frames(text):
        image = int(frame)
        width, height = sizes[image - 1]
        for index, x, y in _in_image(points, width, height):
            found.append((int(index), image - 1, x, y))
    return found


def tracks(text: str, width: float, height: float, fps: float) -> list[dict[str, Any]]:
    """Collect the frames of a track in order of time: time, frame number, points by id; an id counts once a frame."""
    frames: dict[float, dict[str, dict[str, list[float]]]] = {}
    for time_s, index, x, y in unified(text, width, height):
        frames.setdefault(time_s, {}).setdefault(index, {"point": [x, y]})
    return [
        {"time": time_s, "frame": round(time_s * fps), "points": frames[time_s]}
        for time_s in sorted(frames)
    ]


def _frames(text: str) -> Iterator[tuple[str, str]]:
    for coords in _COORDS.finditer(text):
        for frame in _FRAME.finditer(coords[1]):
            yield frame[1], frame[2]


def _in_image(points: str, width: float, height: float) -> Iterator[tuple[str, float, float]]:
    for match in _POINT.finditer(points):
        x, y = float(match[2]) / 1000 * width, float(match[3]) / 1000 * height
        if 0 <= x <= width and 0 <= y <= height:
            yield match[1], x, y


def _percents(pattern: re.Pattern[str], text: str) -> Iterator[tuple[float, float]]:
    """Yield the pairs of a pattern in percent; whole numbers of three digits are thousandths."""
    for pair in pattern.findall(text):
        x, y = (
            float(part) / 10 if len(part) == 3 and part.isdigit() else float(part) for part in pair
        )
        if max(x, y) <= 100:
            yield x, y


def _block(block: str, width: float, height: float) -> list[tuple[float, float, float]]:
    time_s, *numbers = block.split() or ["nothing"]
    if len(numbers) % 3:
        raise ValueError(block)
    pairs = [(float(x), float(y)) for x, y in zip(numbers[1::3], numbers[2::3], strict=True)]
    return [
        (float(time_s), x / 100 * width, y / 100 * height) for x, y in pairs if max(x, y) <= 100
    ]
