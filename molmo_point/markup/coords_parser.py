"""Text of Molmo 2 to points: a strict, incremental parser (molmo2.md section 5).

It reads `<points coords="1 1 224 806 2 364 973;2 3 500 500">red mug</points>` within prose: the number of an image, then for each
point its ordinal, x and y in thousandths of the image's sides; the next image behind a ";". Labels come after the points. In a
video times in seconds stand in place of the images' numbers, and in `<tracks ...>` numbers of objects in place of ordinals. A
number of an image that was not given, a time without a frame, numbers that run backwards, ordinals that do not go up by one and
coordinates above 1000 violate the grammar. At a violation the parser stops, as `MarkupParser` does: it keeps the points before it
and guesses nothing after it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar

from molmo_point.markup.grammar import thousandths_as_fraction
from molmo_point.markup.incremental import Parsed, PointParser
from molmo_point.markup.prose import stated_total
from molmo_point.points import Point


class Mode(Enum):
    """The part of the grammar that comes next."""

    PROSE = auto()
    TAG = auto()
    FRAME = auto()
    POINT = auto()
    BODY = auto()


_MARK = re.compile(r"</?(?:point|track)s?")
_MARK_LENGTH = len("</tracks")
_COORDS = '" coords="'
_FRAME = re.compile(r"([0-9]{1,6}(?:\.[0-9])?) ")
_FRAME_START = re.compile(r"[0-9]{0,6}|[0-9]{1,6}\.[0-9]?")
_POINT = re.compile(r'([0-9]{1,6}) (1000|[0-9]{3}) (1000|[0-9]{3})[ ";\t]')
_POINT_START = re.compile(
    r"[0-9]{0,6}|[0-9]{1,6} (?:[0-9]{0,3}|1000)|[0-9]{1,6} (?:1000|[0-9]{3}) (?:[0-9]{0,3}|1000)"
)
_COUNT_FIRST = re.compile(r"\bThere are ([0-9]{1,6}) \n")
"""In prose, where a line ends at a tag."""
_NUMBER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class Frames:
    """What an answer may point into.

    Attributes:
        images: How many images were asked about.
        times_s: Instead of images: the times of a video's frames in seconds, ascending.
    """

    images: int = 1
    times_s: tuple[float, ...] = ()

    def index(self, name: str, behind: int = -1) -> int | None:
        """Return which image (from 0) or frame behind another one has a name in the text, None where there is none."""
        if self.times_s:
            found = (n for n, time_s in enumerate(self.times_s) if f"{time_s:.1f}" == name)
        else:
            number = int(name) if name.isdecimal() and not name.startswith("0") else 0
            found = (n for n in (number - 1,) if 0 <= n < self.images)
        return next((n for n in found if n > behind), None)

    @property
    def count(self) -> int:
        """Number of images or frames."""
        return len(self.times_s) or self.images

    def fields(self, index: int) -> dict[str, Any]:
        """Return the fields of a point in image or frame `index`."""
        if self.times_s:
            return {"image_index": index, "time_s": self.times_s[index]}
        return {"image_index": index}


ONE_IMAGE = Frames()


def parse_coords(
    text: str, *, label: str = "", cut: bool = False, frames: Frames = ONE_IMAGE
) -> Parsed:
    """Parse a whole answer; `CoordsParser` parses one that is still being written."""
    parser = CoordsParser(label=label, frames=frames)
    parser.feed(text)
    return parser.finish(cut=cut)


class CoordsParser(PointParser):
    """Returns a point as soon as the character behind its digits is there.

    >>> parser = CoordsParser()
    >>> [(point.x, point.y) for point in parser.feed('<points coords="1 1 250 500 2 7')]
    [(0.25, 0.5)]
    >>> parser.finish(cut=True).status.value
    'truncated'

    Args:
        frames: What was asked about.
    """

    closings: ClassVar[dict[str, str]] = {"points": "</points>", "tracks": "</tracks>"}

    def __init__(self, *, label: str = "", frames: Frames = ONE_IMAGE) -> None:
        super().__init__(label=label)
        self._frames = frames
        self._mode = Mode.PROSE
        self._tag = "points"
        """Name of the open tag."""
        self._frame = -1
        """Image or frame of the open tag whose points are read."""
        self._number = 0
        """Ordinal of the last point of the open tag, or number of the last object of the frame."""
        self._alt: str | None = None
        """Of the open tag."""
        self._body = 0
        """Start of the label of the open tag."""

    def _end(self) -> None:
        if self._mode is not Mode.PROSE or _MARK.match(self.text, self._at):
            self._break()

    def _step(self) -> bool:
        if self._mode is Mode.PROSE:
            return self._read_prose()
        if self._mode is Mode.TAG:
            return self._read_tag()
        if self._mode is Mode.FRAME:
            return self._read_frame()
        if self._mode is Mode.POINT:
            return self._read_point()
        return self._mode is Mode.BODY and self._read_body()

    def _read_prose(self) -> bool:
        mark = _MARK.search(self.text, self._at)
        if mark is None:
            # The last characters may be the start of a mark.
            self._at = max(self._at, len(self.text) - _MARK_LENGTH + 1)
            return False
        self._at = mark.start()
        if mark.end() == len(self.text):
            return False
        if self.text[mark.end()].isalnum():
            self._at = mark.end()  # another word, such as <pointer>
            return True
        self._mode, self._open = Mode.TAG, self._at
        return True

    def _read_tag(self) -> bool:
        """Read `<points coords="` or `<points alt="red mug" coords="`, or the same of tracks, which starts at `_at`."""
        start = self._at
        name = "tracks" if self.text.startswith("<track", start) else "points"
        if name == "tracks" and not self._frames.times_s:
            return self._break()
        tag, with_alt = f'<{name} coords="', f'<{name} alt="'
        rest = self.text[start : start + len(tag)]
        if rest == tag:
            alt, coords = None, start + len(tag)
        elif rest.startswith(with_alt):
            begin = start + len(with_alt)
            end = self.text.find(_COORDS, begin)
            if end < 0:
                return self._break() if self.closings[name] in self.text[begin:] else False
            alt, coords = self.text[begin:end], end + len(_COORDS)
            if f"<{name[:-1]}" in alt or self.closings[name] in alt:
                return self._break()
        else:
            begun = tag.startswith(rest) or with_alt.startswith(rest)
            return False if begun else self._break()
        self._tag, self._alt, self._at = name, alt, coords
        self._first, self._number, self._frame = len(self._points), 0, -1
        self._mode = self._first_mode()
        return True

    def _first_mode(self) -> Mode:
        return Mode.FRAME

    def _read_frame(self) -> bool:
        """Read the number of an image or the time of a frame."""
        match = _FRAME.match(self.text, self._at)
        if match is None:
            return False if _FRAME_START.fullmatch(self.text, self._at) else self._break()
        index = self._frames.index(match[1], behind=self._frame)
        if index is None:
            return self._break()
        self._frame, self._at, self._mode = index, match.end(), Mode.POINT
        if self._tag == "tracks":
            self._number = 0
        return True

    def _count_up(self, number: str) -> int | None:
        """Return the ordinal or the object's number that follows, None where it may not."""
        value = 0 if number.startswith("0") else int(number)
        follows = value > self._number if self._tag == "tracks" else value == self._number + 1
        if not follows:
            return None
        self._number = value
        return value

    def _add(self, x: float, y: float, frame: int, number: int) -> None:
        fields = self._frames.fields(frame)
        if self._tag == "tracks":
            fields["track"] = number
        label = self._alt or self._label
        self._points.append(Point(x=x, y=y, label=label, index=len(self._points), **fields))

    def _read_point(self) -> bool:
        match = _POINT.match(self.text, self._at)
        if match is None:
            return False if _POINT_START.fullmatch(self.text, self._at) else self._break()
        number = self._count_up(match[1])
        # Behind the last image or frame no other one can follow.
        ends_frame = match[0][-1] in ";\t"
        if number is None or (ends_frame and self._frame + 1 == self._frames.count):
            return self._break()
        x, y = (thousandths_as_fraction(match[axis]) for axis in (2, 3))
        self._add(x, y, self._frame, number)
        self.spans.append((match.span(2), match.span(3)))
        self._at = match.end()
        if match[0].endswith('"'):
            self._mode, self._body = Mode.BODY, self._at + 1
        elif ends_frame:
            self._mode = Mode.FRAME
        return True

    def _read_body(self) -> bool:
        """Read `>label</points>`, whose label starts at `_body`; nothing in it is escaped."""
        if self.text[self._body - 1 : self._body] != ">":
            return self._break() if len(self.text) >= self._body else False
        closing = self.closings[self._tag]
        end = self.text.find(closing.rstrip("s>"), self._body)
        if end < 0:
            return False
        if not self.text.startswith(closing, end):
            return False if closing.startswith(self.text[end:]) else self._break()
        label = self.text[self._body : end]
        if f"<{self._tag[:-1]}" in label:
            return self._break()
        self._mode = Mode.PROSE
        self._close(end + len(closing), self._alt or label)
        return True

    def _count_in(self, prose: str, cut: bool) -> int | None:
        first = _COUNT_FIRST.search(prose)
        if first is not None:
            return int(first[1])
        alone = None if cut else _NUMBER.fullmatch(prose.strip())
        return int(alone[0]) if alone else stated_total(prose, cut=cut)
