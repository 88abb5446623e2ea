"""How a checkpoint writes points: what the engine must know of it to draft an answer, parse it, and rate its numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from molmo_point.engine.coords_drafting import coords_continuations
from molmo_point.engine.drafting import NONE, Continuations, continuations
from molmo_point.markup import CoordsParser, Frames, MarkupParser, PointParser
from molmo_point.markup.writer import NONE_TEXT


@dataclass(frozen=True)
class PointGrammar:
    """One way to write points.

    Attributes:
        none: What the model writes where nothing matches.
        parser: Makes a parser for points with that label in those images.
        continuations: Says what may follow.
        full_scale: What coordinates call the far edge.
        decision: Start of the text before the number at this index that says that a (further) point follows.
    """

    none: str
    parser: Callable[[str, Frames], PointParser]
    continuations: Continuations
    full_scale: int
    decision: Callable[[str, int], int]


_FIRST = re.compile(r'coords="[0-9.]+ [0-9]+ $')
_ORDINAL = re.compile(r"(?:[;\t][0-9.]+)? [0-9]+ $")


def _before_ordinal(text: str, start: int) -> int:
    """The first point is decided upon with the whole opening, each further one with what follows the point before it."""
    ordinal = _ORDINAL.search(text, 0, start)
    return 0 if ordinal is None or _FIRST.search(text, 0, start) else ordinal.start()


PERCENT = PointGrammar(
    NONE,
    lambda label, _: MarkupParser(label=label),
    continuations,
    full_scale=100,
    decision=lambda _, start: start - 1,
)
"""`<point x="63.5" y="44.5" alt="red mug">red mug</point>`."""

THOUSANDTHS = PointGrammar(
    NONE_TEXT,
    lambda label, frames: CoordsParser(label=label, frames=frames),
    coords_continuations,
    full_scale=1000,
    decision=_before_ordinal,
)
"""`<points coords="1 1 635 445">red mug</points>`: Molmo 2."""
