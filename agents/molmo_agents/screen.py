"""The one place where screenshot coordinates become page coordinates.

Three spaces: `norm`, 0-1 of the screenshot the model saw; `image`, continuous pixels of that screenshot; `css`, CSS pixels of
the viewport, origin at its top left corner, the space in which a browser takes mouse events. The device scale factor is
in none of the formulas: a screenshot of a region shows that region whole, whatever its resolution, so
`css = region.origin + norm * region.size`. That is why any screenshot call, scale factor, zoom or downscaling for the
model gives the same point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from molmo_point.errors import UsageError
from molmo_point.points import Point


@dataclass(frozen=True)
class Box:
    """A rectangle in CSS pixels of the viewport; (x, y) is its top left corner."""

    x: float
    y: float
    width: float
    height: float

    def contains(self, x: float, y: float) -> bool:
        """Whether (x, y) lies inside; the right and bottom edges belong to the neighbour."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height

    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def overlap(self, other: Box) -> Box:
        """The part that both share; its sides are 0 where they share none."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.width, other.x + other.width)
        bottom = min(self.y + self.height, other.y + other.height)
        return Box(left, top, max(0.0, right - left), max(0.0, bottom - top))

    def within(self, outer: Box) -> Box:
        """Move and shrink this box so that it lies in `outer`."""
        width, height = min(self.width, outer.width), min(self.height, outer.height)
        x = min(max(self.x, outer.x), outer.x + outer.width - width)
        y = min(max(self.y, outer.y), outer.y + outer.height - height)
        return Box(x, y, width, height)


@dataclass(frozen=True)
class Screenshot:
    """A screenshot that the model sees, and the part of the page it shows.

    Attributes:
        image: PNG bytes, secrets already blacked out.
        image_size: (width, height) of `image` in pixels.
        region: The part of the viewport that the screenshot shows, in CSS pixels.
        viewport: (innerWidth, innerHeight) in CSS pixels.
        scale: What was asked for, screenshot pixels per CSS px of a region; for taking it again, never computed with.
        device_scale: devicePixelRatio, for the record; nothing is computed from it.
        url: Address of the page.
        documents: Identity of the documents shown, the main one first: they change when a frame navigates.
        masks: CSS boxes that were blacked out.
        taken_s: `time.monotonic()` when the screenshot was taken.
    """

    image: bytes = field(repr=False)
    image_size: tuple[int, int]
    region: Box
    viewport: tuple[float, float]
    scale: float = 1.0
    device_scale: float = 1.0
    url: str = ""
    documents: tuple[str, ...] = ()
    masks: tuple[Box, ...] = ()
    taken_s: float = 0.0

    def to_css(self, x: float, y: float) -> tuple[float, float]:
        """Normalized screenshot coordinates (0-1) to CSS pixels of the viewport; the inverse of `to_norm`.

        Raises:
            UsageError: Not finite, or outside of 0-1.
        """
        if not (math.isfinite(x) and math.isfinite(y) and 0 <= x <= 1 and 0 <= y <= 1):
            raise UsageError(f"expected x and y in 0-1 of the screenshot, got ({x}, {y})")
        region = self.region
        # 1.0 is the far edge, which belongs to no pixel: stay inside by less than anything can see.
        return (
            region.x + min(x, 1 - 1e-6) * region.width,
            region.y + min(y, 1 - 1e-6) * region.height,
        )

    def to_norm(self, x: float, y: float) -> tuple[float, float]:
        """CSS pixels of the viewport to normalized screenshot coordinates; the inverse of `to_css`."""
        return (x - self.region.x) / self.region.width, (y - self.region.y) / self.region.height

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """CSS pixels of the viewport to continuous pixels of the screenshot."""
        nx, ny = self.to_norm(x, y)
        return nx * self.image_size[0], ny * self.image_size[1]

    def sigma_css(self, point: Point) -> float | None:
        """Standard deviation of `point` along its worst axis in CSS pixels, or None where the model gave none."""
        if point.covariance is None:
            return None
        xx, xy, yy = point.covariance
        xx, yy = xx * self.region.width**2, yy * self.region.height**2
        xy = xy * self.region.width * self.region.height
        # Largest eigenvalue of a symmetric 2x2 matrix.
        root = math.sqrt(max(0.0, ((xx - yy) / 2) ** 2 + xy * xy))
        return math.sqrt(max(0.0, (xx + yy) / 2 + root))


def zoom_region(
    centre: tuple[float, float],
    target: Box | None,
    sigma: float | None,
    viewport: tuple[float, float],
) -> Box:
    """Choose the part of the viewport to look at again, larger.

    Args:
        centre: Where the first look pointed, CSS pixels.
        target: Box of what lies there, if anything.
        sigma: Standard deviation of the point in CSS pixels, or None.
        viewport: (width, height) in CSS pixels.

    Returns:
        A box of the viewport's proportions around `centre`, a quarter of its width unless the uncertainty (three standard
        deviations each way) or the target (three times its size) needs more; never larger than the viewport.
    """
    width, height = viewport
    need_w = max(width / 4, 6 * (sigma or 0.0), 3 * target.width if target else 0.0, 64.0)
    need_h = max(height / 4, 6 * (sigma or 0.0), 3 * target.height if target else 0.0, 64.0)
    share = min(1.0, max(need_w / width, need_h / height))
    w, h = width * share, height * share
    box = Box(centre[0] - w / 2, centre[1] - h / 2, w, h).within(Box(0, 0, width, height))
    # Whole pixels, so that the same region taken twice is the same screenshot.
    left, top = math.floor(box.x), math.floor(box.y)
    right, bottom = min(width, math.ceil(box.x + w)), min(height, math.ceil(box.y + h))
    return Box(left, top, right - left, bottom - top)
