"""Which pointer a command uses: a model here, a server there, or a point that is given."""

from __future__ import annotations

from typing import Any

from molmo_point.api import open_pointer
from molmo_point.errors import UsageError
from molmo_point.pointer import Pointer
from molmo_point.testing import FakePointer


def choose_pointer(model: str, at: str | None = None) -> Pointer:
    """Return the pointer that the options name.

    Args:
        model: A server's address, a model name or folder, or "none" for a pointer that finds nothing.
        at: "X,Y" in 0-1 of the screenshot: answer that point whatever the question.

    Raises:
        UsageError: A point that is none; and whatever loading the model raises.
    """
    if at is not None:
        place = _place(at)
        answer: Any = lambda image, query: [place]  # noqa: E731
        return FakePointer(answer)
    if model == "none":
        return FakePointer({})
    return open_pointer(model)


def _place(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"expected a point like 0.5,0.25, got {text!r}") from None
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise UsageError(f"expected a point with x and y in 0-1 of the viewport, got {text!r}")
    return x, y
