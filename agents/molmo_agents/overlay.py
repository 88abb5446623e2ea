"""Draw what a step saw and did on the screenshot the model saw, so that a wrong click can be told from a wrong drawing."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont

from molmo_agents.outcome import Outcome
from molmo_agents.screen import Screenshot

GOOD, BAD, BOX = (20, 140, 60), (200, 30, 40), (30, 90, 220)
_CAPTION = 22


def overlay(screenshot: Screenshot, outcome: Outcome, good: bool | None = None) -> bytes:
    """Return a PNG of `screenshot` with the target's box, the point or points, and the status in a line beneath.

    Green: the step did what was wanted, by `good` or else by the outcome and its expectation. Red: it did not.

    The point is drawn in screenshot pixels through the same mapping that the press used.
    """
    shown = Image.open(io.BytesIO(screenshot.image)).convert("RGB")
    image = Image.new("RGB", (shown.width, shown.height + _CAPTION), (255, 255, 255))
    image.paste(shown)
    draw = ImageDraw.Draw(image)
    colour = GOOD if (outcome.ok if good is None else good) else BAD
    if outcome.target is not None:
        box = outcome.target.box
        left, top = screenshot.to_image(box.x, box.y)
        right, bottom = screenshot.to_image(box.x + box.width, box.y + box.height)
        edges = (left, top, max(left, right), max(top, bottom))
        # White around it: a blue box would not be seen on a blue button.
        draw.rectangle(grown(edges, 2), outline=(255, 255, 255), width=6)
        draw.rectangle(edges, outline=BOX, width=2)
    places = outcome.points or ((outcome.point,) if outcome.point else ())
    for index, place in enumerate(places[:200], 1):
        x, y = screenshot.to_image(*place)
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=(255, 255, 255), width=4)
        draw.line((x - 12, y, x + 12, y), fill=(255, 255, 255), width=3)
        draw.line((x, y - 12, x, y + 12), fill=(255, 255, 255), width=3)
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=colour, width=2)
        draw.line((x - 11, y, x + 11, y), fill=colour)
        draw.line((x, y - 11, x, y + 11), fill=colour)
        if len(places) > 1:
            draw.text((x + 9, y - 16), str(index), fill=colour)
    score = "" if outcome.score is None else f", score {outcome.score:.2f}"
    caption = f"{outcome.verb} {outcome.query!r}: {outcome.status}{score}"
    font = ImageFont.load_default(12)
    draw.text((6, shown.height + 4), caption[:200], fill=colour, font=font)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def grown(
    edges: tuple[float, float, float, float], by: float
) -> tuple[float, float, float, float]:
    """A rectangle (left, top, right, bottom) whose sides lie `by` further out."""
    left, top, right, bottom = edges
    return left - by, top - by, right + by, bottom + by
