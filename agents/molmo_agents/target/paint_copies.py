"""Where else an element's text is painted than in its own place: shadows with an offset, drop shadows, reflections."""

from __future__ import annotations

import re
from collections.abc import Iterator

from molmo_agents.playwright_types import Json

STYLES = ["text-shadow", "filter", "-webkit-box-reflect"]
"""The computed styles that paint a text a second time; to be asked for with the layout."""

_LENGTH = re.compile(r"(-?[\d.]+)px")
_DROP = re.compile(r"drop-shadow\(((?:[^()]|\([^()]*\))*)\)")
_REFLECT = re.compile(r"(above|below|left|right)(?:\s+(-?[\d.]+)(px|%))?")


class PaintCopies:
    """The copies that the styles of one document paint."""

    def __init__(self, layout: Json) -> None:
        strings, shown = layout["strings"], layout["layout"]
        self._parents: list[int] = layout["nodes"]["parentIndex"]
        self._styles: dict[int, list[str]] = {}
        self._bounds: dict[int, list[float]] = {}
        for node, values, bounds in zip(
            shown["nodeIndex"], shown["styles"], shown["bounds"], strict=True
        ):
            if values:
                self._styles[node] = [strings[value] if value >= 0 else "" for value in values]
                self._bounds[node] = bounds

    def of(self, node: int, bounds: list[float]) -> list[list[float]]:
        """Return further bounds (x, y, width, height) in which what is painted at `bounds` for `node` is painted, too."""
        places = [bounds]
        inherited = True
        while node >= 0:
            if node in self._styles:
                shadow, effects, reflection = self._styles[node]
                if inherited:
                    # The innermost element's is the one that counts.
                    places += [moved for place in places for moved in _shadows(place, shadow)]
                    inherited = False
                for drop in _DROP.findall(effects):
                    places += [moved for place in places for moved in _shadows(place, drop)]
                found = _REFLECT.search(reflection)
                if found is not None:
                    places += [_mirrored(place, self._bounds[node], found) for place in places]
            node = self._parents[node]
        return places[1:]


def _shadows(place: list[float], text: str) -> Iterator[list[float]]:
    for part in re.sub(r"[\w-]+\([^)]*\)", "", text).split(","):
        lengths = [float(length) for length in _LENGTH.findall(part)]
        if len(lengths) >= 2:
            dx, dy, soft = lengths[0], lengths[1], 2 * lengths[2] if len(lengths) > 2 else 0.0
            x, y, width, height = place
            yield [x + dx - soft, y + dy - soft, width + 2 * soft, height + 2 * soft]


def _mirrored(place: list[float], whole: list[float], how: re.Match[str]) -> list[float]:
    x, y, width, height = place
    left, top, across, down = whole
    side, number, unit = how.groups()
    upright = side in ("above", "below")
    gap = float(number or 0) * ((down if upright else across) / 100 if unit == "%" else 1)
    if side == "below":
        y = 2 * (top + down) + gap - y - height
    elif side == "above":
        y = 2 * top - gap - y - height
    elif side == "right":
        x = 2 * (left + across) + gap - x - width
    else:
        x = 2 * left - gap - x - width
    return [x, y, width, height]
