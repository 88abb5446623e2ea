"""Molmo's point markup: points to text, text to points, and the questions that make a model write it.

Molmo writes places as percent of the picture's width and height with one decimal, inside tags, amid prose:

    There are none.
    <point x="61.5" y="40.6" alt="red mug">red mug</point>
    Counting the <points x1="10.3" y1="90.0" x2="80.0" y2="20.0" alt="dogs">dogs</points> shows a total of 2.

`writer` writes it exactly as the training data does; `parser` reads it strictly, in text order, in whatever pieces it comes;
`questions` holds the prompts. The lenient reader that the reference implementation scores with is another one:
`molmo_point.evaluate.reference`. Here, and nowhere else, percent become 0-1 and back.
"""

from __future__ import annotations

from molmo_point.markup.parser import MarkupParser, Parsed, parse
from molmo_point.markup.questions import count_prompt, guess_label, point_prompt
from molmo_point.markup.writer import Annotation, Coordinates, format_annotated, format_points

__all__ = [
    "Annotation",
    "Coordinates",
    "MarkupParser",
    "Parsed",
    "count_prompt",
    "format_annotated",
    "format_points",
    "guess_label",
    "parse",
    "point_prompt",
]
