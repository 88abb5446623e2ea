"""Take a screenshot of the page, and record what is needed to tell later whether it still holds."""

from __future__ import annotations

import base64
import io
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from molmo_agents.browser.documents import IsolatedWorld, WorldLost
from molmo_agents.drivers.steps import Steps, pause
from molmo_agents.errors import PageGone
from molmo_agents.playwright_types import Json
from molmo_agents.screen import Box, Screenshot
from molmo_agents.session import Session
from molmo_agents.target.blackout import Layouts, painted, strips
from molmo_agents.target.closed_frames import add_closed_frames
from molmo_point.errors import UsageError
from molmo_point.images import load_image

MAX_FRAMES = 24
"""Frames of a page whose contents are remembered; controls in further ones are recognised by their pixels."""

MAX_SECRET_FRAMES = 200
"""The same where the policy has secrets: whatever lies in further ones is black."""

SAME_LOOKS = 3
"""Further looks at where secrets are, around the screenshot; one of them comes before it."""

PIXEL_WINDOW = 48.0
"""Side of the square around a point whose pixels must not have changed, CSS px."""

PIXEL_STEP = 32
"""Largest change of one channel of one pixel that still counts as unchanged: anti-aliasing of moved carets and the like."""


def take_screenshot(
    s: Session, region: Box | None = None, scale: float = 1.0
) -> Steps[Screenshot]:
    """Take a screenshot of the viewport, or of a region of it.

    Args:
        s: The session.
        region: CSS px of the viewport; None takes all of it.
        scale: Screenshot pixels per CSS px, for a region.

    Returns:
        The screenshot, with the boxes of password fields and secrets blacked out.
    """
    s.shared.looks += 1
    yield from s.worlds.tidy()
    main = yield from s.worlds.main()
    state, documents, masks = yield from _snapshot(s, main)
    whole = Box(0, 0, float(state["viewport"][0]), float(state["viewport"][1]))
    if region is None and scale != 1:
        region = whole
    if region is not None and region.within(whole) != region:
        raise UsageError(
            f"the region {region} does not lie in the viewport of {whole.width:g}x{whole.height:g}"
        )
    data = yield from capture(s, state, region, scale)
    if masks or s.masker:
        data, masks = yield from _masked_for_sure(s, state, masks, data, region, scale)
    viewport = (whole.width, whole.height)
    shown = region or whole
    if masks:
        data = black_out(data, shown, masks)
    screenshot = Screenshot(
        image=data,
        image_size=_size(data),
        region=shown,
        viewport=viewport,
        scale=scale,
        device_scale=float(state["dpr"]),
        url=s.masker.text(str(state["url"])),
        documents=tuple(documents),
        masks=tuple(masks),
        taken_s=time.monotonic(),
    )
    s.screenshot = screenshot
    return screenshot


NO_FRAME = "Unable to capture screenshot"
"""How Chromium says that its compositor has nothing to show yet."""


def capture(s: Session, state: Json, region: Box | None, scale: float) -> Steps[bytes]:
    """Return PNG bytes. Not Playwright's screenshot: that waits for fonts, forever where one never comes."""
    options: Json = {"format": "png", "optimizeForSpeed": True}
    if region is None and state.get("scale", 1) != 1:
        # Pinched pages show a part of the viewport; mouse events count from the corner of the whole.
        region = Box(0, 0, *(float(side) for side in state["viewport"]))
    if region is not None:
        # The protocol wants the clip in the document's coordinates.
        left, top = state["scroll"]
        options["clip"] = {
            "x": left + region.x,
            "y": top + region.y,
            "width": region.width,
            "height": region.height,
            "scale": scale,
        }
    end = time.monotonic() + s.options.answer_s
    while True:
        try:
            answer = yield from s.worlds.send(
                s.worlds.session, "Page.captureScreenshot", **options
            )
            return base64.b64decode(answer["data"])
        except PageGone:
            raise
        except Exception as error:
            # On a busy machine the compositor may have no frame for a short time.
            if NO_FRAME not in str(error) or time.monotonic() > end:
                raise
        yield from pause(s.page, 0.1)


def wait_until_still(s: Session, seconds: float) -> Steps[None]:
    """Wait until two screenshots in a row are the same; after `seconds` and four screenshots, what moves has moved on."""
    end = time.monotonic() + seconds
    last = yield from capture(s, {}, None, 1.0)
    taken = 1
    while time.monotonic() < end or taken < 4:
        taken += 1
        yield from pause(s.page, 0.05)
        now = yield from capture(s, {}, None, 1.0)
        if now == last:
            return
        last = now


def unchanged(
    s: Session, screenshot: Screenshot, x: float, y: float, box: Box | None = None
) -> Steps[bool]:
    """Whether the pixels around (x, y), CSS px, and in `box` if one is given, are still those of `screenshot`."""
    main = yield from s.worlds.main()
    state = yield from s.worlds.ask(main, "state")
    whole = screenshot.region == Box(0, 0, *screenshot.viewport)
    data = yield from capture(s, state, None if whole else screenshot.region, screenshot.scale)
    if screenshot.masks:
        data = black_out(data, screenshot.region, screenshot.masks)
    return same_pixels(screenshot, data, x, y, box)


def same_pixels(
    screenshot: Screenshot, data: bytes, x: float, y: float, box: Box | None = None
) -> bool:
    """Whether another screenshot of the same region agrees with `screenshot` in the window around (x, y), CSS px.

    With `box` only what of the window lies in it counts: a spinner beside a button says nothing about the button.
    """
    before, now = load_image(screenshot.image), load_image(data)
    if before.shape != now.shape:
        return False
    half = PIXEL_WINDOW / 2
    window = Box(x - half, y - half, PIXEL_WINDOW, PIXEL_WINDOW)
    if box is not None and box.contains(x, y):
        window = window.overlap(box)
    left, top = screenshot.to_image(window.x, window.y)
    right, bottom = screenshot.to_image(window.x + window.width, window.y + window.height)
    rows = slice(max(0, int(top)), max(0, int(bottom) + 1))
    columns = slice(max(0, int(left)), max(0, int(right) + 1))
    difference = np.abs(before[rows, columns].astype(np.int16) - now[rows, columns])
    return bool(difference.size and difference.max() <= PIXEL_STEP)


def changed_share(before: bytes, after: bytes) -> float:
    """Share of pixels (0-1) in which two screenshots differ by more than `PIXEL_STEP`; 1 where the sizes differ."""
    first, second = load_image(before), load_image(after)
    if first.shape != second.shape:
        return 1.0
    difference = np.abs(first.astype(np.int16) - second).max(axis=2)
    return float((difference > PIXEL_STEP).mean())


def black_out(data: bytes, region: Box, masks: list[Box] | tuple[Box, ...]) -> bytes:
    """Return the screenshot of `region` with `masks` (CSS px of the viewport) painted black."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    sx, sy = image.width / region.width, image.height / region.height
    draw = ImageDraw.Draw(image)
    for mask in masks:
        left, top = (mask.x - region.x) * sx, (mask.y - region.y) * sy
        right, bottom = left + mask.width * sx, top + mask.height * sy
        if right > 0 and bottom > 0 and left < image.width and top < image.height:
            draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=(0, 0, 0))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _masked_for_sure(
    s: Session,
    state: Json,
    masks: list[Box],
    data: bytes,
    region: Box | None,
    scale: float,
) -> Steps[tuple[bytes, list[Box]]]:
    """Return a screenshot and its masks; an element that holds a secret may move between the query of its box and the screenshot.

    Boxes that are equal in four queries around the screenshot are right: what moves in steps may be in the same place twice.
    Where they differ, the whole path of the element is masked.
    """
    main = yield from s.worlds.main(known=True)
    seen = [masks]
    for index in range(SAME_LOOKS):
        yield from s.worlds.run(main, "() => molmo.frames2(1)")
        if index == SAME_LOOKS // 2:
            # What the compositor shows may be a frame behind the layout: the looks before have let it come up.
            data = yield from capture(s, state, region, scale)
        _, _, later = yield from _snapshot(s, main)
        seen.append(later)
    if all(one == masks for one in seen):
        return data, masks
    viewport = (float(state["viewport"][0]), float(state["viewport"][1]))
    return data, strips(seen, viewport)


def _snapshot(s: Session, main: IsolatedWorld) -> Steps[tuple[Json, list[str], list[Box]]]:
    """Remember what lies where in every document shown; return the main one's state, all identities, and the masks."""
    first: Json = {}
    documents: list[str] = []
    masks: list[Box] = []
    layouts: Layouts = {}
    canvases = False
    waiting = [(main, Place())]
    while waiting and len(documents) < (MAX_SECRET_FRAMES if s.masker else MAX_FRAMES):
        world, place = waiting.pop(0)
        try:
            shot = yield from s.worlds.ask(world, "snapshot", canvases)
            if not first and shot["state"]["document"] in s.given:
                canvases = True
                shot = yield from s.worlds.ask(world, "snapshot", canvases)
            boxes = [Box(**mask) for mask in shot["masks"]]
            if s.masker:
                boxes += yield from painted(
                    s.worlds, world, shot["state"], s.masker, layouts, canvases
                )
        except WorldLost:
            if world is main:
                raise
            # A frame that went away between two questions shows nothing any more.
            continue
        first = first or shot["state"]
        documents.append(shot["state"]["document"])
        masks += [place.of(box) for box in boxes]
        waiting += yield from _frames(s, world, place, shot["frames"])
    if s.masker:
        masks += [place.whole for _, place in waiting if place.whole is not None]
    return first, documents, masks


@dataclass(frozen=True)
class Place:
    """Where a document lies in the viewport: its corner, CSS px of the viewport per CSS px of its own, and its frame's box."""

    left: float = 0.0
    top: float = 0.0
    sx: float = 1.0
    sy: float = 1.0
    whole: Box | None = None
    turned: bool = False

    def of(self, box: Box) -> Box:
        """A box of the document in the viewport; in a frame that is turned, all of the frame."""
        if self.turned and self.whole is not None:
            return self.whole
        x, y = self.left + box.x * self.sx, self.top + box.y * self.sy
        return Box(x, y, box.width * self.sx, box.height * self.sy)

    def inner(self, frame: dict[str, float], box: Box) -> Place:
        """Where a frame's document lies: `frame` is `molmo.inside` of the frame's element, `box` the element's own."""
        left, top = self.left + frame["left"] * self.sx, self.top + frame["top"] * self.sy
        turned = self.turned or bool(frame["turned"])
        return Place(left, top, self.sx * frame["sx"], self.sy * frame["sy"], self.of(box), turned)


def _frames(
    s: Session, world: IsolatedWorld, place: Place, frames: list[dict[str, float]]
) -> Steps[list[tuple[IsolatedWorld, Place]]]:
    """Return the documents in the frames that a document shows."""
    found: list[tuple[IsolatedWorld, Place]] = []
    try:
        listed = list(enumerate(frames))
        if frames:
            found += yield from _opened(s, world, place, listed)
        seen = frozenset(child.frame_id for child, _ in found)
        closed = yield from add_closed_frames(s, world, seen)
        if closed:
            found += yield from _opened(s, world, place, closed)
    except WorldLost:
        # The document is going; what it shows is gone with it.
        pass
    return found


def _opened(
    s: Session, world: IsolatedWorld, place: Place, frames: list[tuple[int, Json]]
) -> Steps[list[tuple[IsolatedWorld, Place]]]:
    """Return the documents in frames of a document, given by index in `molmo.frames` and `molmo.inside`."""
    found: list[tuple[IsolatedWorld, Place]] = []
    boxes = yield from s.worlds.ask(world, "frameBoxes")
    for index, inner in frames:
        child = yield from s.worlds.child(world, f"molmo.frames[{index}]")
        if child is not None:
            found.append((child, place.inner(inner, Box(**boxes[index]))))
    return found


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.width, image.height
