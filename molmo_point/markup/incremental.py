"""What the parsers of both kinds of point text share: text comes in pieces, points go out as soon as they are complete."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from molmo_point.markup.grammar import Span
from molmo_point.markup.prose import prose_between, says_none, stated_total
from molmo_point.points import Point, Status


class Parsed(NamedTuple):
    """A whole answer.

    Attributes:
        points: In text order.
        status: `found`; `not_found` where the text says so; `truncated` where it was cut; `malformed` where it violates the
            grammar or holds no points. The last two keep the points that were complete before.
        stated_count: N of 'a total of N', 0 for 'There are none.', else None.
    """

    points: tuple[Point, ...]
    status: Status
    stated_count: int | None


class PointParser(ABC):
    """Parses an answer piece by piece; the result does not depend on how the text is cut into pieces.

    At a violation of the grammar it stops: it keeps the points before it and guesses nothing after it.

    Args:
        label: Label of points that are returned before their own label is written (see `guess_label`). The points that
            `finish` returns have the label of the text.

    Attributes:
        text: The text so far.
        spans: For each point, the spans of its numbers in `text`: (span of x, span of y).
    """

    def __init__(self, *, label: str = "") -> None:
        self.text = ""
        self.spans: list[tuple[Span, Span]] = []
        self._label = label
        self._points: list[Point] = []
        self._at = 0
        """Everything before this index is parsed."""
        self._elements: list[Span] = []
        """Spans of the parsed elements; the rest is prose."""
        self._open: int | None = None
        """Start of the open element, or of the one that violates the grammar."""
        self._first = 0
        """Index of the first point of the open element."""
        self._broken = False
        self._ended = False

    def feed(self, piece: str) -> list[Point]:
        """Parse the next piece of text; return the points that it completes."""
        if self._ended:
            name = type(self).__name__
            raise RuntimeError(f"this answer is finished: make a new {name} for the next one")
        self.text += piece
        known = len(self._points)
        self._parse()
        return self._points[known:]

    def finish(self, *, cut: bool = False) -> Parsed:
        """Return the whole answer.

        Args:
            cut: The model did not end the text: a token limit or a deadline did.
        """
        if not self._ended and not cut and not self._broken:
            self._end()
        self._ended = True
        stated = self._stated_count(cut)
        return Parsed(tuple(self._points), self._status(cut, stated), stated)

    @classmethod
    def parse(cls, text: str, *, label: str = "", cut: bool = False) -> Parsed:
        """Parse a whole answer."""
        parser = cls(label=label)
        parser.feed(text)
        return parser.finish(cut=cut)

    @abstractmethod
    def _step(self) -> bool:
        """Parse one element at `_at`; return whether to try again before more text comes."""

    @abstractmethod
    def _end(self) -> None:
        """Parse what is complete only at the end of the text; mark an open element as a violation."""

    def _count_in(self, prose: str, cut: bool) -> int | None:
        """Return the count that the prose around the elements states, or None."""
        return stated_total(prose, cut=cut)

    def _parse(self) -> None:
        while not self._broken and self._step():
            pass

    def _break(self) -> bool:
        """Mark a violation of the grammar at `_at`, or at the start of the open element."""
        if self._open is None:
            self._open = self._at
        self._broken = True
        return False

    def _close(self, end: int, label: str) -> None:
        """Close the open element, whose text ends at `end`, and give its points their label."""
        for index in range(self._first, len(self._points)):
            self._points[index] = self._points[index].model_copy(update={"label": label})
        start = self._open if self._open is not None else self._at
        self._open, self._at = None, end
        self._elements.append((start, end))

    def _stated_count(self, cut: bool) -> int | None:
        prose = prose_between(self.text[: self._open], self._elements)
        if not cut and not self._points and says_none(prose):
            return 0
        return self._count_in(prose, cut)

    def _status(self, cut: bool, stated: int | None) -> Status:
        if self._broken:
            return Status.MALFORMED
        if cut:
            return Status.TRUNCATED
        if self._points:
            return Status.FOUND
        return Status.NOT_FOUND if stated == 0 else Status.MALFORMED
