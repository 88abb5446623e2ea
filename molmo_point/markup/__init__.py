"""Molmo's point markup: points to text, text to points, and the prompts that make a model write it.

Molmo writes positions as percent of the image's width and height with one decimal, inside tags within prose:

    There are none.
    <point x="61.5" y="40.6" alt="red mug">red mug</point>
    Counting the <points x1="10.3" y1="90.0" x2="80.0" y2="20.0" alt="dogs">dogs</points> shows a total of 2.

Molmo 2 writes thousandths, all points of a tag in one attribute:

    <points coords="1 1 103 900 2 800 200">dogs</points>

MolmoPoint writes choices of patches (`patch_parser`):

    <points coords="<POINT_380><POINT_1178><POINT_1187>1<POINT_1176>">dogs</point>

`writer` and `coords_writer` write it exactly as the training data does. `parser` (patterns in `grammar`) and `coords_parser`
parse it strictly and incrementally (`incremental` is what they share); the reference's lenient parsers lie with the tests.
`questions` holds the prompts.
Percent and thousandths are converted to 0-1 and back in this package only.
"""

from __future__ import annotations

from molmo_point.markup.coords_parser import CoordsParser, Frames, parse_coords
from molmo_point.markup.coords_writer import Frame, format_coords, format_tracks
from molmo_point.markup.incremental import Parsed, PointParser
from molmo_point.markup.parser import MarkupParser, parse
from molmo_point.markup.patch_parser import Locate, PatchParser
from molmo_point.markup.questions import count_prompt, guess_label, point_prompt
from molmo_point.markup.writer import Annotation, Coordinates, format_annotated, format_points

__all__ = [
    "Annotation",
    "Coordinates",
    "CoordsParser",
    "Frame",
    "Frames",
    "Locate",
    "MarkupParser",
    "Parsed",
    "PatchParser",
    "PointParser",
    "count_prompt",
    "format_annotated",
    "format_coords",
    "format_points",
    "format_tracks",
    "guess_label",
    "parse",
    "parse_coords",
    "point_prompt",
]
