"""Points to the coordinates of OpenAI- and Anthropic-style `computer` tools, and back.

Both speak whole pixels of the image that was sent to the model, whose size need not be the screen's. Bounds are checked
in that same space: a coordinate outside of the image is refused, never clamped to its edge and clicked there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molmo_agents.playwright_types import Json
from molmo_point.errors import UsageError
from molmo_point.points import Point

Size = tuple[int, int]
_ANTHROPIC = {
    ("left", 1): "left_click",
    ("left", 2): "double_click",
    ("left", 3): "triple_click",
    ("right", 1): "right_click",
    ("middle", 1): "middle_click",
}
_ANTHROPIC_BACK = {name: key for key, name in _ANTHROPIC.items()}


def to_pixels(point: Point, size: Size) -> tuple[int, int]:
    """Normalized point to the whole pixel of an image of `size` (width, height) that holds it; see `from_pixels`."""
    width, height = _checked(size)
    return min(int(point.x * width), width - 1), min(int(point.y * height), height - 1)


def from_pixels(x: Any, y: Any, size: Size) -> Point:
    """Whole pixel to the normalized point in its middle; `to_pixels` gives the same pixel back.

    Raises:
        UsageError: Not a number, or outside of the image.
    """
    width, height = _checked(size)
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (x, y))
    if not numbers or not (0 <= x < width and 0 <= y < height):
        raise UsageError(
            f"expected a coordinate inside of the {width}x{height} image, got ({x!r}, {y!r})"
        )
    return Point(x=(int(x) + 0.5) / width, y=(int(y) + 0.5) / height)


def to_openai(point: Point, size: Size, *, button: str = "left", count: int = 1) -> Json:
    """Return an OpenAI-style click for an image of `size`: {"type": "click", "x", "y", "button"} or double_click."""
    x, y = to_pixels(point, size)
    if count == 2 and button == "left":
        return {"type": "double_click", "x": x, "y": y}
    if count != 1 or button not in ("left", "right", "wheel", "middle"):
        raise UsageError(
            f"expected one click of left, right or middle, or two of left, got {count} of {button!r}"
        )
    return {"type": "click", "x": x, "y": y, "button": "wheel" if button == "middle" else button}


def from_openai(action: Mapping[str, object], size: Size) -> tuple[Point, str, int]:
    """Read an OpenAI-style click: (point, button, count); the inverse of `to_openai` up to the pixel.

    Raises:
        UsageError: Another kind of action, or a coordinate outside of the image.
    """
    kind = action.get("type")
    if kind not in ("click", "double_click"):
        raise UsageError(f"expected an action of type click or double_click, got {kind!r}")
    button = str(action.get("button", "left"))
    names = {"left": "left", "right": "right", "wheel": "middle"}
    if button not in names:
        raise UsageError(f"expected the button left, right or wheel, got {button!r}")
    point = from_pixels(action.get("x"), action.get("y"), size)
    return point, names[button], 2 if kind == "double_click" else 1


def to_anthropic(point: Point, size: Size, *, button: str = "left", count: int = 1) -> Json:
    """Return an Anthropic-style click for an image of `size`: {"action": "left_click", "coordinate": [x, y]}."""
    name = _ANTHROPIC.get((button, count))
    if name is None:
        raise UsageError(f"there is no such click: {count} of {button!r}")
    return {"action": name, "coordinate": list(to_pixels(point, size))}


def from_anthropic(action: Mapping[str, object], size: Size) -> tuple[Point, str, int]:
    """Read an Anthropic-style click: (point, button, count); the inverse of `to_anthropic` up to the pixel.

    Raises:
        UsageError: Another kind of action, or a coordinate outside of the image.
    """
    name, coordinate = action.get("action"), action.get("coordinate")
    if name not in _ANTHROPIC_BACK:
        raise UsageError(f"expected one of {sorted(_ANTHROPIC_BACK)}, got {name!r}")
    if not isinstance(coordinate, (list, tuple)) or len(coordinate) != 2:
        raise UsageError(f"expected a coordinate [x, y], got {coordinate!r}")
    button, count = _ANTHROPIC_BACK[str(name)]
    return from_pixels(coordinate[0], coordinate[1], size), button, count


def _checked(size: Size) -> Size:
    if len(size) != 2 or min(size) < 1:
        raise UsageError(f"expected an image size (width, height) of at least 1x1, got {size}")
    return size
