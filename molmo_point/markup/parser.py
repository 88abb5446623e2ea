"""Text to points: a strict, incremental parser.

It reads `<point x="61.5" y="40.6" alt="mug">mug</point>`, `<points x1= y1= x2= ...>`, the rarer forms of the released models
(`<point p=615,406 alt="mug">` in thousandths, `Click(61.5, 40.6)`, answers that are nothing but lines `(61.5, 40.6)`), any number
of them within prose, 'a total of N' and 'There are none.'. At a violation of the grammar the parser stops: it keeps the points
before it and guesses nothing after it.
"""

from __future__ import annotations

import re

from molmo_point.markup import grammar
from molmo_point.markup.grammar import Mode, Span
from molmo_point.markup.incremental import Parsed, PointParser
from molmo_point.points import Point


def parse(text: str, *, label: str = "", cut: bool = False) -> Parsed:
    """Parse a whole answer; `MarkupParser` parses one that is still being written."""
    return MarkupParser.parse(text, label=label, cut=cut)


class MarkupParser(PointParser):
    """Returns a point as soon as its numbers are closed, before the rest of its tag, with its label, is written.

    The last line of an answer of bare lines is complete only when the answer is finished.

    >>> parser = MarkupParser()
    >>> [(point.x, point.y) for point in parser.feed('<points x1="25.0" y1="50.0" x2="7')]
    [(0.25, 0.5)]
    >>> parser.finish(cut=True).status.value
    'truncated'
    """

    def __init__(self, *, label: str = "") -> None:
        super().__init__(label=label)
        self._mode = Mode.START
        self._plural = False
        self._x: tuple[float, Span] | None = None
        """Last x of the open tag, until its y is read."""
        self._body = 0
        """Start of the label of the open tag."""
        self._has_alt = False

    def _step(self) -> bool:
        if self._mode is Mode.START:
            return self._read_start()
        if self._mode is Mode.LINES:
            return self._read_line()
        if self._mode is Mode.PROSE:
            return self._read_prose()
        if self._mode is Mode.TAG:
            return self._read_attribute()
        return self._mode is Mode.BODY and self._read_body()

    def _end(self) -> None:
        if self._mode is Mode.LINES:
            self._take_line(self.text[self._at :])
            self._parse()
        rest = self.text[self._at :]
        open_mark = grammar.CLICK_START.match(rest) or rest.endswith(grammar.MARK_STARTS)
        if self._mode in (Mode.TAG, Mode.BODY) or (self._mode is Mode.PROSE and open_mark):
            self._break()

    def _add(self, x: tuple[float, Span], y: tuple[float, Span]) -> None:
        self._points.append(Point(x=x[0], y=y[0], label=self._label, index=len(self._points)))
        self.spans.append((x[1], y[1]))

    def _read_start(self) -> bool:
        rest = self.text.lstrip()
        if rest:
            self._mode = Mode.LINES if rest[0] == "(" else Mode.PROSE
        return bool(rest)

    def _read_line(self) -> bool:
        end = self.text.find("\n", self._at)
        if end >= 0:
            return self._take_line(self.text[self._at : end + 1])
        rest = self.text[self._at :]
        return grammar.LINE_START.fullmatch(rest) is None and self._take_line(rest)

    def _take_line(self, line: str) -> bool:
        match = grammar.LINE.fullmatch(line)
        if match is None and line.strip():
            if self._points:
                return self._break()
            # The text begins with a bracket but not with a line of coordinates.
            self._mode = Mode.PROSE
            return True
        return self._take_pair(match, len(line)) if match else self._pass_over(len(line))

    def _take_pair(self, match: re.Match[str], length: int) -> bool:
        """Add the point of `(x, y)` at `_at`."""
        offset = (
            self._at - match.start()
        )  # a match within a line counts from the start of the line
        x = grammar.fraction(match, 1, offset)
        y = grammar.fraction(match, 2, offset)
        if x is None or y is None:
            return self._break()
        self._add(x, y)
        return self._pass_over(length)

    def _pass_over(self, length: int) -> bool:
        self._elements.append((self._at, self._at + length))
        self._at += length
        return True

    def _read_prose(self) -> bool:
        mark = grammar.MARK.search(self.text, self._at)
        if mark is None:
            # The last characters may be the start of a mark.
            self._at = max(self._at, len(self.text) - grammar.MARK_LENGTH + 1)
            return False
        self._at = mark.start()
        return self._read_click() if mark[0] == "Click(" else self._read_tag(mark.end())

    def _read_click(self) -> bool:
        match = grammar.CLICK.match(self.text, self._at)
        if match is not None:
            return self._take_pair(match, len(match[0]))
        rest = self.text[self._at : self._at + grammar.CLICK_LENGTH]
        if ")" not in rest and len(rest) < grammar.CLICK_LENGTH:
            return False
        if grammar.CLICK_START.match(rest):
            return self._break()
        self._at += len("Click(")
        return True

    def _read_tag(self, name_end: int) -> bool:
        match = grammar.TAG.match(self.text, self._at)
        if match is None and len(self.text) < name_end + 2:
            return False
        if match is None or match[3].isalnum():
            self._at = name_end  # a different word, such as <pointer>
            return True
        if match[1] or not match[3].isspace():
            return self._break()
        self._mode = Mode.TAG
        self._open, self._at = self._at, match.end()
        self._plural, self._first = bool(match[2]), len(self._points)
        return True

    def _read_attribute(self) -> bool:
        match = grammar.ATTRIBUTE.match(self.text, self._at)
        if match is None:
            return self._wait_for(grammar.ATTRIBUTE_START, self._at)
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

    def _wait_for(self, start_pattern: re.Pattern[str], start: int) -> bool:
        """Wait for more text if the rest is the start of the pattern; otherwise it violates the grammar."""
        return self._break() if start_pattern.fullmatch(self.text, start) is None else False

    def _read_percent(self, start: int, *, is_x: bool) -> bool:
        match = grammar.PERCENT.match(self.text, start)
        if match is None:
            return self._wait_for(grammar.PERCENT_START, start)
        value = grammar.fraction(match, 1)
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
        match = grammar.THOUSANDTHS.match(self.text, start)
        if match is None:
            return self._wait_for(grammar.THOUSANDTHS_START, start)
        self._add(*grammar.thousandths(match))
        self._at = match.end()
        return True

    def _open_body(self, start: int, *, has_alt: bool) -> bool:
        if has_alt and self.text[start : start + 1] != '"':
            return self._break() if len(self.text) > start else False
        self._mode, self._has_alt = Mode.BODY, has_alt
        self._body = self._at = start + has_alt
        return True

    def _read_body(self) -> bool:
        """Read `label">label</point>` from `_body` on; the text has no escapes."""
        end = self.text.find("</point", self._at)
        if end < 0:
            self._at = max(self._at, len(self.text) - grammar.MARK_LENGTH + 1)
            return False
        closing = "</points>" if self._plural else "</point>"
        if not self.text.startswith(closing, end):
            return False if closing.startswith(self.text[end:]) else self._break()
        label = grammar.label_of(self.text[self._body : end], self._has_alt)
        if label is None:
            return self._break()
        self._mode = Mode.PROSE
        self._close(end + len(closing), label)
        return True
