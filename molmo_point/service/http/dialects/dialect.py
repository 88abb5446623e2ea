"""What an answer dialect is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from molmo_point.errors import ServiceError, TimedOut
from molmo_point.points import Point, Pointing, Status
from molmo_point.wire import NothingThere
from molmo_point.wording import counted


class Prompt(NamedTuple):
    """The texts of a chat request.

    Attributes:
        system: Of the system and developer messages.
        user: Of the last user message.
    """

    system: str
    user: str


@dataclass(frozen=True)
class Dialect:
    """One way to ask for a position and to write it.

    Attributes:
        name: As in model="nano@NAME".
        example: An answer in it.
        query: Returns the query in a prompt; raises `QueryError` for a prompt that it does not know.
        write: Returns the text for an answer with points; the best point comes first.
        absent: Returns the dialect's own text for "not there"; None where it has none.
    """

    name: str
    example: str
    query: Callable[[Prompt], str]
    write: Callable[[Prompt, Pointing], str]
    absent: Callable[[Prompt], str] | None

    def answer(self, prompt: Prompt, pointing: Pointing) -> str:
        """Return the text of the answer.

        Raises:
            NothingThere: Nothing fits, and there is no word for it.
            TimedOut: The answer is cut: which point is the best is not known.
            ServiceError: The model's answer could not be read as points.
        """
        if pointing.status is Status.FOUND:
            return self.write(prompt, pointing)
        if pointing.status is Status.NOT_FOUND:
            if self.absent is not None:
                return self.absent(prompt)
            raise NothingThere(
                f"nothing in the image fits the query, and the dialect {self.name} has no word for that; "
                "json_bbox1000 and json_point1000 answer [], POST /v1/point answers not_found"
            )
        if pointing.status is Status.MALFORMED:
            raise ServiceError("the model's answer could not be read as points")
        raise TimedOut(
            f"the answer was cut short after {counted(pointing.count, 'point')}: give it more time"
        )


def best_first(pointing: Pointing) -> list[Point]:
    """Return the points by falling score; in the order of the answer where scores are missing or equal."""
    return sorted(pointing.points, key=lambda point: -(point.score or 0.0))


def pixel_of(point: Point, width: int, height: int) -> tuple[int, int]:
    """Return the pixel that the point lies in: column 0 to width - 1, row 0 to height - 1."""
    x, y = point.pixel(width, height)
    return min(int(x), width - 1), min(int(y), height - 1)


def per_mille(point: Point) -> tuple[int, int]:
    """Return the point in thousandths of the image's width and height, 0 to 1000."""
    return round(1000 * point.x), round(1000 * point.y)
