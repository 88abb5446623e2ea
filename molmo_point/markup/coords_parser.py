"""Text of Molmo 2 to points: a strict, incremental parser (molmo2.md section 5).

It reads `<points coords="1 1 224 806 2 364 973">red mug</points>` within prose: the number of the image, then for each point its
ordinal, x and y in thousandths of the image's sides. Labels come after the points. One image is asked about, so another image's
number, a time or a track violates the grammar, as do ordinals that do not go up by one and coordinates above 1000. At a violation
the parser stops, as `MarkupParser` does: it keeps the points before it and guesses nothing after it.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from molmo_point.markup.grammar import thousandths_as_fraction
from molmo_point.markup.incremental import Parsed, PointParser
from molmo_point.markup.prose import stated_total
from molmo_point.points import Point


class _Mode(Enum):
    """The part of the grammar that comes next."""

    PROSE = auto()
    TAG = auto()
    POINT = auto()
    BODY = auto()


_MARK = re.compile(r"</?(?:point|track)s?")
_MARK_LENGTH = len("</tracks")
_TAG, _TAG_WITH_ALT, _COORDS = '<points coords="', '<points alt="', '" coords="'
_IMAGE = "1 "
_POINT = re.compile(r'([0-9]{1,6}) (1000|[0-9]{3}) (1000|[0-9]{3})[ "]')
_POINT_START = re.compile(
    r"[0-9]{0,6}|[0-9]{1,6} (?:[0-9]{0,3}|1000)|[0-9]{1,6} (?:1000|[0-9]{3}) (?:[0-9]{0,3}|1000)"
)
_CLOSING = "</points>"
_COUNT_FIRST = re.compile(r"\bThere are ([0-9]{1,6}) \n")
"""In prose, where a line ends at a tag."""
_NUMBER = re.compile(r"[0-9]{1,6}")


def parse_coords(text: str, *, label: str = "", cut: bool = False) -> Parsed:
    """Parse a whole answer; `CoordsParser` parses one that is still being written."""
    return CoordsParser.parse(text, label=label, cut=cut)


class CoordsParser(PointParser):
    """Returns a point as soon as the character behind its digits is there.

    >>> parser = CoordsParser()
    >>> [(point.x, point.y) for point in parser.feed('<points coords="1 1 250 500 2 7')]
    [(0.25, 0.5)]
    >>> parser.finish(cut=True).status.value
    'truncated'
    """

    def __init__(self, *, label: str = "") -> None:
        super().__init__(label=label)
        self._mode = _Mode.PROSE
        self._alt: str | None = None
        """Of the open tag."""
        self._body = 0
        """Start of the label of the open tag."""

    def _end(self) -> None:
        if self._mode is not _Mode.PROSE or _MARK.match(self.text, self._at):
            self._break()

    def _step(self) -> bool:
        if self._mode is _Mode.PROSE:
            return self._read_prose()
        if self._mode is _Mode.TAG:
            return self._read_tag()
        if self._mode is _Mode.POINT:
            return self._read_point()
        return self._mode is _Mode.BODY and self._read_body()

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
        self._mode, self._open = _Mode.TAG, self._at
        return True

    def _read_tag(self) -> bool:
        """Read `<points coords="1 ` or `<points alt="red mug" coords="1 `, which starts at `_at`."""
        start = self._at
        rest = self.text[start : start + len(_TAG)]
        if rest == _TAG:
            alt, coords = None, start + len(_TAG)
        elif rest.startswith(_TAG_WITH_ALT):
            begin = start + len(_TAG_WITH_ALT)
            end = self.text.find(_COORDS, begin)
            if end < 0:
                return self._break() if _CLOSING in self.text[begin:] else False
            alt, coords = self.text[begin:end], end + len(_COORDS)
            if "<point" in alt or _CLOSING in alt:
                return self._break()
        else:
            begun = _TAG.startswith(rest) or _TAG_WITH_ALT.startswith(rest)
            return False if begun else self._break()
        image = self.text[coords : coords + len(_IMAGE)]
        if image != _IMAGE:
            return False if _IMAGE.startswith(image) else self._break()
        self._alt, self._at = alt, coords + len(_IMAGE)
        self._first, self._mode = len(self._points), _Mode.POINT
        return True

    def _read_point(self) -> bool:
        match = _POINT.match(self.text, self._at)
        if match is None:
            return False if _POINT_START.fullmatch(self.text, self._at) else self._break()
        index = len(self._points)
        if match[1] != str(index - self._first + 1):
            return self._break()
        x, y = (thousandths_as_fraction(match[axis]) for axis in (2, 3))
        self._points.append(Point(x=x, y=y, label=self._alt or self._label, index=index))
        self.spans.append((match.span(2), match.span(3)))
        self._at = match.end()
        if match[0].endswith('"'):
            self._mode, self._body = _Mode.BODY, self._at + 1
        return True

    def _read_body(self) -> bool:
        """Read `>label</points>`, whose label starts at `_body`; nothing in it is escaped."""
        if self.text[self._body - 1 : self._body] != ">":
            return self._break() if len(self.text) >= self._body else False
        end = self.text.find("</point", self._body)
        if end < 0:
            return False
        if not self.text.startswith(_CLOSING, end):
            return False if _CLOSING.startswith(self.text[end:]) else self._break()
        label = self.text[self._body : end]
        if "<point" in label:
            return self._break()
        self._mode = _Mode.PROSE
        self._close(end + len(_CLOSING), self._alt or label)
        return True

    def _count_in(self, prose: str, cut: bool) -> int | None:
        first = _COUNT_FIRST.search(prose)
        if first is not None:
            return int(first[1])
        alone = None if cut else _NUMBER.fullmatch(prose.strip())
        return int(alone[0]) if alone else stated_total(prose, cut=cut)
