"""Text to points: a strict parser in text order, fed in whatever pieces the text comes.

It reads `<point x="61.5" y="40.6" alt="mug">mug</point>`, `<points x1= y1= x2= ...>`, the rarer forms of the released models
(`<point p=615,406 alt="mug">` in thousandths, `Click(61.5, 40.6)`, answers that are nothing but lines `(61.5, 40.6)`), any number
of them amid prose, 'a total of N' and 'There are none.'. What breaks the grammar ends the reading: the points before it stay,
nothing after it is guessed.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from molmo_point.markup.prose import says_none, stated_total
from molmo_point.points import Point, Status

Span = tuple[int, int]
"""(start, end) of characters in the text."""


class Parsed(NamedTuple):
    """What a whole answer says.

    Attributes:
        points: In text order, all of them certain.
        status: `found`; `not_found` where the text says so; `truncated` where it was cut short; `malformed` where it breaks
            the grammar or holds no points at all. The last two keep the points that were complete before.
        stated_count: N of 'a total of N', 0 of 'There are none.', else None.
    """

    points: tuple[Point, ...]
    status: Status
    stated_count: int | None


def parse(text: str, *, label: str = "", cut: bool = False) -> Parsed:
    """Read a whole answer at once; see `MarkupParser`, which reads one that is still being written."""
    parser = MarkupParser(label=label)
    parser.feed(text)
    return parser.finish(cut=cut)


class _Mode(Enum):
    START = auto()
    LINES = auto()
    PROSE = auto()
    TAG = auto()
    BODY = auto()
    BROKEN = auto()


# For each thing a pattern of the whole and one of its beginnings. Both have the same bounds, so that a text is judged the
# same however it is cut into pieces.
_LINE = re.compile(r"[ \t]{0,16}\(([0-9]{1,3}\.[0-9]), ?([0-9]{1,3}\.[0-9])\)[ \t\r]{0,16}\n?")
_LINE_BEGUN = re.compile(r"[0-9()., \t\r]{0,64}")
_MARK = re.compile(r"Click\(|</?point")
_MARK_LENGTH = len("</point")
_MARKS_BEGUN = ("<point", "<points", "</point", "</points")
_CLICK = re.compile(r"Click\(([0-9]{1,3}\.[0-9]), ?([0-9]{1,3}\.[0-9])\)")
_CLICK_BEGUN = re.compile(r"Click\([0-9]")
_CLICK_LENGTH = len("Click(100.0, 100.0)")
_TAG = re.compile(r"<(/?)point(s?)(?=([^s]))")
_ATTRIBUTE = re.compile(r"\s{1,64}[a-z]{0,3}[0-9]{0,6}=|>")
_ATTRIBUTE_BEGUN = re.compile(r"\s{1,64}[a-z]{0,3}[0-9]{0,6}|")
_PERCENT = re.compile(r'"\s{0,64}([0-9]{1,3}(?:\.[0-9]{1,64})?)"')
_PERCENT_BEGUN = re.compile(r'"\s{0,64}(?:[0-9]{1,3}(?:\.[0-9]{0,64})?)?|')
_THOUSANDTHS = re.compile(r"([0-9]{3}),([0-9]{3})(?=[\s>])")
_THOUSANDTHS_BEGUN = re.compile(r"[0-9]{0,3}|[0-9]{3},[0-9]{0,3}")


class MarkupParser:
    """Reads an answer piece by piece; how it is cut into pieces makes no difference to what is read.

    A point leaves as soon as its numbers are closed, before the rest of its tag, and so its label, has been written.

    Args:
        label: The name of points that leave before their own has been read (`guess_label` gives a good one). The points
            that `finish` returns carry what the text calls them.

    Attributes:
        text: Everything fed so far.
        spans: For each point, where its numbers stand in `text`: (span of x, span of y).

    >>> parser = MarkupParser()
    >>> [(point.x, point.y) for point in parser.feed('<points x1="25.0" y1="50.0" x2="7')]
    [(0.25, 0.5)]
    >>> parser.finish(cut=True).status.value
    'truncated'
    """

    def __init__(self, *, label: str = "") -> None:
        self.text = ""
        self.spans: list[tuple[Span, Span]] = []
        self._label = label
        self._points: list[Point] = []
        self._mode = _Mode.START
        self._at = 0
        """Everything before has been read."""
        self._elements: list[Span] = []
        """What has been read and is not prose."""
        self._open: int | None = None
        """Where the element begins that is open, or that broke the grammar."""
        self._plural = False
        self._first = 0
        """Index of the open tag's first point."""
        self._x: tuple[float, Span] | None = None
        """The open tag's last x, until its y comes."""
        self._body = 0
        """Where the open tag's label begins."""
        self._has_alt = False
        self._ended = False

    def feed(self, piece: str) -> list[Point]:
        """Take the next piece of text; return the points that it completes."""
        if self._ended:
            raise RuntimeError("this answer is finished: make a new MarkupParser for the next one")
        self.text += piece
        known = len(self._points)
        while self._step():
            pass
        return self._points[known:]

    def finish(self, *, cut: bool = False) -> Parsed:
        """Say what the whole answer was. The last of an answer's bare lines is complete only here.

        Args:
            cut: The text did not end by itself: a token limit or a deadline came first.
        """
        if not self._ended and not cut:
            self._end()
        self._ended = True
        stated = self._stated_count(cut)
        if self._mode is _Mode.BROKEN:
            status = Status.MALFORMED
        elif cut:
            status = Status.TRUNCATED
        elif self._points:
            status = Status.FOUND
        else:
            status = Status.NOT_FOUND if stated == 0 else Status.MALFORMED
        return Parsed(tuple(self._points), status, stated)

    def _step(self) -> bool:
        """Read one thing at `_at`; return whether there may be more to read before more text comes."""
        if self._mode is _Mode.START:
            return self._read_start()
        if self._mode is _Mode.LINES:
            return self._read_line()
        if self._mode is _Mode.PROSE:
            return self._read_prose()
        if self._mode is _Mode.TAG:
            return self._read_attribute()
        return self._mode is _Mode.BODY and self._read_body()

    def _end(self) -> None:
        """Judge what the end of the text leaves open."""
        if self._mode is _Mode.LINES:
            self._take_line(self.text[self._at :])
            while self._step():
                pass
        rest = self.text[self._at :]
        open_mark = _CLICK_BEGUN.match(rest) or rest.endswith(_MARKS_BEGUN)
        if self._mode in (_Mode.TAG, _Mode.BODY) or (self._mode is _Mode.PROSE and open_mark):
            self._break()

    def _break(self) -> bool:
        if self._open is None:
            self._open = self._at
        self._mode = _Mode.BROKEN
        return False

    def _add(self, x: tuple[float, Span], y: tuple[float, Span]) -> None:
        self._points.append(Point(x=x[0], y=y[0], label=self._label, index=len(self._points)))
        self.spans.append((x[1], y[1]))

    def _read_start(self) -> bool:
        rest = self.text.lstrip()
        if rest:
            self._mode = _Mode.LINES if rest[0] == "(" else _Mode.PROSE
        return bool(rest)

    def _read_line(self) -> bool:
        end = self.text.find("\n", self._at)
        if end >= 0:
            return self._take_line(self.text[self._at : end + 1])
        rest = self.text[self._at :]
        return _LINE_BEGUN.fullmatch(rest) is None and self._take_line(rest)

    def _take_line(self, line: str) -> bool:
        match = _LINE.fullmatch(line)
        if match is None and line.strip():
            if self._points:
                return self._break()
            # Not one line of coordinates: the bracket opened a sentence.
            self._mode = _Mode.PROSE
            return True
        return self._take_pair(match, len(line)) if match else self._pass_over(len(line))

    def _take_pair(self, match: re.Match[str], length: int) -> bool:
        """Add the point of a `(x, y)`, which begins at `_at`."""
        offset = self._at - match.start()  # the match may be in a line, which begins at 0
        x = _fraction(match, 1, offset)
        y = _fraction(match, 2, offset)
        if x is None or y is None:
            return self._break()
        self._add(x, y)
        return self._pass_over(length)

    def _pass_over(self, length: int) -> bool:
        self._elements.append((self._at, self._at + length))
        self._at += length
        return True

    def _read_prose(self) -> bool:
        mark = _MARK.search(self.text, self._at)
        if mark is None:
            # The last characters may be the beginning of a mark.
            self._at = max(self._at, len(self.text) - _MARK_LENGTH + 1)
            return False
        self._at = mark.start()
        return self._read_click() if mark[0] == "Click(" else self._read_tag(mark.end())

    def _read_click(self) -> bool:
        match = _CLICK.match(self.text, self._at)
        if match is not None:
            return self._take_pair(match, len(match[0]))
        rest = self.text[self._at : self._at + _CLICK_LENGTH]
        if ")" not in rest and len(rest) < _CLICK_LENGTH:
            return False
        if _CLICK_BEGUN.match(rest):
            return self._break()
        self._at += len("Click(")
        return True

    def _read_tag(self, name_end: int) -> bool:
        match = _TAG.match(self.text, self._at)
        if match is None and len(self.text) < name_end + 2:
            return False
        if match is None or match[3].isalnum():
            self._at = name_end  # another word, such as <pointer>
            return True
        if match[1] or not match[3].isspace():
            return self._break()
        self._mode = _Mode.TAG
        self._open, self._at = self._at, match.end()
        self._plural, self._first = bool(match[2]), len(self._points)
        return True

    def _read_attribute(self) -> bool:
        match = _ATTRIBUTE.match(self.text, self._at)
        if match is None:
            return self._wait_for(_ATTRIBUTE_BEGUN, self._at)
        key = match[0].strip().rstrip("=>")
        read = len(self._points) - self._first
        index = str(read + 1) if self._plural else ""
        if self._x is not None:
            if key == f"y{index}":
                return self._read_percent(match.end(), is_x=False)
            return self._break()
        if self._plural or not read:
            if key == f"x{index}":
                return self._read_percent(match.end(), is_x=True)
            if key == (index or "p"):
                return self._read_thousandths(match.end())
        if read and (key == "alt" or match[0] == ">"):
            return self._open_body(match.end(), has_alt=key == "alt")
        return self._break()

    def _wait_for(self, begun: re.Pattern[str], start: int) -> bool:
        """Wait for more text if what there is may become the thing; else the grammar is broken."""
        return self._break() if begun.fullmatch(self.text, start) is None else False

    def _read_percent(self, start: int, *, is_x: bool) -> bool:
        match = _PERCENT.match(self.text, start)
        if match is None:
            return self._wait_for(_PERCENT_BEGUN, start)
        value = _fraction(match, 1)
        if value is None:
            return self._break()
        if is_x:
            self._x = value
        elif self._x is not None:
            self._add(self._x, value)
            self._x = None
        self._at = match.end()
        return True

    def _read_thousandths(self, start: int) -> bool:
        match = _THOUSANDTHS.match(self.text, start)
        if match is None:
            return self._wait_for(_THOUSANDTHS_BEGUN, start)
        x = _percent_as_fraction(f"{match[1][:2]}.{match[1][2]}"), match.span(1)
        y = _percent_as_fraction(f"{match[2][:2]}.{match[2][2]}"), match.span(2)
        self._add(x, y)
        self._at = match.end()
        return True

    def _open_body(self, start: int, *, has_alt: bool) -> bool:
        if has_alt and self.text[start : start + 1] != '"':
            return self._break() if len(self.text) > start else False
        self._mode, self._has_alt = _Mode.BODY, has_alt
        self._body = self._at = start + has_alt
        return True

    def _read_body(self) -> bool:
        """Read `label">label</point>`, which begins at `_body`; nothing in it is escaped."""
        end = self.text.find("</point", self._at)
        if end < 0:
            self._at = max(self._at, len(self.text) - _MARK_LENGTH + 1)
            return False
        closing = "</points>" if self._plural else "</point>"
        if not self.text.startswith(closing, end):
            return False if closing.startswith(self.text[end:]) else self._break()
        label = _label(self.text[self._body : end], self._has_alt)
        if label is None:
            return self._break()
        for index in range(self._first, len(self._points)):
            self._points[index] = self._points[index].model_copy(update={"label": label})
        start = self._open if self._open is not None else self._at
        self._mode, self._open, self._at = _Mode.PROSE, None, end + len(closing)
        self._elements.append((start, self._at))
        return True

    def _stated_count(self, cut: bool) -> int | None:
        end = len(self.text) if self._open is None else self._open
        starts = [0, *(stop for _, stop in self._elements)]
        stops = [*(start for start, _ in self._elements), end]
        prose = "\n".join(self.text[a:b] for a, b in zip(starts, stops, strict=True))
        if not cut and not self._points and says_none(prose):
            return 0
        return stated_total(prose, cut=cut)


def _label(body: str, has_alt: bool) -> str | None:
    """Return the label of `label">inline` (of `inline` where there is no alt), or None where it cannot be one."""
    if not has_alt:
        return None if "<point" in body else body
    # The two are the same text in all but explanations, and then a label that itself holds `">` is no riddle.
    middle = (len(body) - 2) // 2
    if body[:middle] + '">' + body[:middle] == body:
        return body[:middle]
    alt, separator, _ = body.partition('">')
    return alt if separator and "<point" not in body else None


def _fraction(match: re.Match[str], group: int, offset: int = 0) -> tuple[float, Span] | None:
    """Return a percentage as (0-1, where it stands), or None where it lies outside the picture."""
    if float(match[group]) > 100.0:
        return None
    start, end = match.span(group)
    return _percent_as_fraction(match[group]), (start + offset, end + offset)


def _percent_as_fraction(percent: str) -> float:
    """The one place where percent become 0-1: "40.3" is 0.403 itself, which 40.3 / 100 misses by a rounding."""
    return float(f"{percent}e-2")
