"""One labelled question of a data set, and a data set with what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from molmo_point.convert import Skipped
from molmo_point.errors import UsageError
from molmo_point.examples import Region
from molmo_point.wording import counted

Mode = Literal["point", "count", "text"]

SHOWN = 5
"""Bad entries that a message names."""


@dataclass(frozen=True)
class LabelledItem:
    """One question about an image, with its answer.

    Attributes:
        image: The image's file, or its bytes.
        query: What is asked for, or the whole question where `mode` is "text"; empty for a caption.
        points: (x, y) of the answer, `norm`: 0-1 of the image, origin top left. Empty: nothing there.
        mode: "point", "count" (the answer also states the number) or "text" (the answer is `text`).
        text: The answer in words, of a question or a caption.
        boxes: For each point the box (left, top, right, bottom) of its object, `norm`; empty where none are known.
        regions: Where a point is right: for each point the region of its object, or one region of all objects, or of free space
            (then `points` may be empty); empty where none are known.
        count: Number of the objects where `points` does not say it; None where it does.
        category: Group of the report, e.g. the category of COCO.
        source: Where it came from, "file:annotation".
    """

    image: Path | bytes
    query: str
    points: tuple[tuple[float, float], ...] = ()
    mode: Mode = "point"
    text: str = ""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    regions: tuple[Region, ...] = ()
    count: int | None = None
    category: str = ""
    source: str = ""

    @property
    def teaches(self) -> bool:
        """Whether the answer is known in full: where objects are, or in words, not only their number or a region."""
        return bool(self.points) or not (self.regions or self.count)


class BadEntries(UsageError):
    """A data set holds entries that cannot be used; the message names the first ones and says how many there are."""

    kind = "bad_entries"


@dataclass(frozen=True)
class LabelledData:
    """What was read of a data set.

    Attributes:
        items: In the order of the data.
        skipped: Every entry that was not read, with its reason.
        layout: Name of the layout that the data have.
        files: What was read besides the images: annotations and masks.
    """

    items: tuple[LabelledItem, ...]
    skipped: tuple[Skipped, ...] = field(default=())
    layout: str = ""
    files: tuple[Path, ...] = ()

    def checked(self, path: Path, *, skip_bad: bool) -> LabelledData:
        """Return the data, or refuse them for their bad entries.

        Args:
            path: For messages.
            skip_bad: Bad entries are left out.

        Raises:
            BadEntries: There are bad entries and `skip_bad` is off.
            UsageError: Nothing is left.
        """
        if self.skipped and not skip_bad:
            raise BadEntries(f"{path}: {summary(self.skipped)}; --skip-bad leaves them out")
        if not self.items:
            why = f": {summary(self.skipped)}" if self.skipped else ", it is empty"
            raise UsageError(f"{path} holds no question that can be used{why}")
        return self

    def to_learn_from(self, path: Path) -> LabelledData:
        """Return the data, or refuse them because some answers are not known in full.

        Args:
            path: For messages.

        Raises:
            UsageError: Some items have a number or a region, and no points: trained on, they would teach absence.
        """
        wanting = [item for item in self.items if not item.teaches]
        if wanting:
            raise UsageError(
                f"{path}: {counted(len(wanting), 'entry', 'entries')} (first: {wanting[0].source}) say how "
                "many there are, or where a point may lie, and not where each object is: they can be evaluated, not learned from"
            )
        return self


def summary(skipped: Sequence[Skipped]) -> str:
    """Return the number of bad entries and the first few."""
    first = "; ".join(str(entry) for entry in skipped[:SHOWN])
    more = f"; and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
    return f"{counted(len(skipped), 'entry', 'entries')} cannot be used: {first}{more}"
