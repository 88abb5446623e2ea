"""Answers of MolmoPoint to points: a strict, incremental parser (molmo2.md 7.3).

It reads `<points coords="<POINT_380><POINT_1178><POINT_1187>1<POINT_1176>">red mug</point>` within prose: for each point the
numbers of a patch, of a patch of its window, and of a location, then its ordinal; before the quote the number that says that no
more points follow. Numbers count all choices of an image: P patches, "no more points", C patches of a window, 9 locations.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from molmo_point.markup.coords_parser import ONE_IMAGE, CoordsParser, Frames, Mode

Locate = Callable[[int, int, int], "tuple[int, float, float] | None"]
"""(patch, patch of its window, location) to (image or frame, x, y), norm; None where there is no such place."""

_CHOICE = r"<POINT_([0-9]{1,6})>"
_TRIPLE = re.compile(rf'{_CHOICE}{_CHOICE}{_CHOICE}([0-9]{{1,6}})(?=[<"])')
_END = re.compile(rf'{_CHOICE}"')
_START = re.compile(
    r"(?:<POINT_[0-9]{1,6}>){0,2}(?:<(?:P(?:O(?:I(?:N(?:T(?:_[0-9]{0,6})?)?)?)?)?)?)?|(?:<POINT_[0-9]{1,6}>){3}[0-9]{0,6}"
)


class PatchParser(CoordsParser):
    """Returns a point as soon as the character behind its ordinal is there.

    Args:
        locate: Finds the places of an image's patches.
        choices: (P, C), numbers of patches and of patches of a window.
    """

    closings: ClassVar[dict[str, str]] = {"points": "</point>", "tracks": "</point>"}

    def __init__(
        self,
        *,
        locate: Locate,
        choices: tuple[int, int],
        label: str = "",
        frames: Frames = ONE_IMAGE,
    ) -> None:
        super().__init__(label=label, frames=frames)
        self._locate = locate
        patches, window = choices
        self._no_more = patches
        self._part, self._location = patches + 1, patches + 1 + window

    def _first_mode(self) -> Mode:
        return Mode.POINT

    def _read_point(self) -> bool:
        end = _END.match(self.text, self._at)
        if end is not None:
            if int(end[1]) != self._no_more:
                return self._break()
            self._at, self._mode = end.end(), Mode.BODY
            self._body = self._at + 1
            return True
        match = _TRIPLE.match(self.text, self._at)
        if match is None:
            return False if _START.fullmatch(self.text, self._at) else self._break()
        number = (
            self._track_number(match[4]) if self._tag == "tracks" else self._count_up(match[4])
        )
        patch, part, location = (int(match[index]) for index in (1, 2, 3))
        found = self._locate(patch, part - self._part, location - self._location)
        if found is None or number is None:
            return self._break()
        frame, x, y = found
        self._add(x, y, frame, number)
        self.spans.append((match.span(1), match.span(3)))
        self._at = match.end()
        return True

    def _track_number(self, number: str) -> int | None:
        """Objects of a frame come in the order of their patches, not of their numbers."""
        return None if number.startswith("0") else int(number)
