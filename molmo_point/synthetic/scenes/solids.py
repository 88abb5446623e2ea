"""Small solids, seen from above and lit from one side: rays against spheres, boxes, cylinders and cones.

Frame of a solid: x right, y up, z towards the eye; it fills about [-1, 1] in each direction. Rays run along -z (no perspective).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from molmo_point.errors import UsageError

Floats = NDArray[np.float64]

SOLIDS = ("sphere", "cube", "cylinder", "cone")
POSES = 6
"""Number of poses of each solid, each with its own light."""

FAR = -1e9
"""Depth where a ray hits nothing."""


@functools.lru_cache(maxsize=256)
def solid(name: str, rgb: tuple[int, int, int], pose: int, side: int) -> Image.Image:
    """Draw a shaded solid.

    Args:
        name: One of SOLIDS.
        rgb: Its colour, 0-255.
        pose: Modulo POSES.
        side: Width and height of the image in pixels.

    Returns:
        RGBA, transparent around the solid.
    """
    if name not in SOLIDS:
        raise UsageError(f"expected a solid of {', '.join(SOLIDS)}, got {name!r}")
    rng = np.random.default_rng([SOLIDS.index(name), pose % POSES])
    turn = _turned(rng.uniform(0, math.tau), rng.uniform(0.45, 0.8))
    light = np.array([rng.uniform(-0.8, 0.8), rng.uniform(0.4, 0.9), 0.8])
    light /= np.linalg.norm(light)
    # Four rays per pixel, averaged, smooth the edges.
    across = (np.arange(2 * side) + 0.5) / side - 1
    x, y = np.meshgrid(across, -across)
    depth, normal = _hit(name, 1.5 * x, 1.5 * y, turn)
    seen = depth > FAR / 2
    lit = np.clip(normal @ light, 0, 1)
    half = light + np.array([0.0, 0.0, 1.0])
    gloss = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 30
    shade = (0.35 + 0.75 * lit)[..., None] * np.array(rgb) + 90 * gloss[..., None]
    pixels = np.zeros((2 * side, 2 * side, 4), np.uint8)
    pixels[..., :3] = np.clip(shade, 0, 255)
    pixels[..., 3] = np.where(seen, 255, 0)
    pixels[~seen, :3] = rgb
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)


def _turned(yaw: float, pitch: float) -> Floats:
    """Rotation (3, 3), eye_from_solid: first about the upright axis, then towards the eye."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    about = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    cos, sin = math.cos(pitch), math.sin(pitch)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ about


def _hit(name: str, x: Floats, y: Floats, turn: Floats) -> tuple[Floats, Floats]:
    """Return depth (H, W) of the nearest hit in the eye's frame, FAR where none, and its normal (H, W, 3)."""
    start = np.stack([x, y, np.full_like(x, 4.0)], axis=-1) @ turn
    along = np.array([0.0, 0.0, -1.0]) @ turn
    if name == "sphere":
        candidates = _round(start, along)
    elif name == "cube":
        candidates = _box(start, along)
    else:
        candidates = _standing(start, along, 0.5 if name == "cone" else 0.0)
    best = np.full(x.shape, np.inf)
    normal = np.zeros((*x.shape, 3))
    for distance, outward in candidates:
        nearer = distance < best
        best = np.where(nearer, distance, best)
        normal = np.where(nearer[..., None], outward, normal)
    depth = np.where(np.isfinite(best), 4.0 - best, FAR)
    return depth, normal @ turn.T


Hits = list[tuple[Floats, Floats]]


def _root(a: Any, b: Any, c: Any) -> Floats:
    """Return the smaller root of a t^2 + 2 b t + c, infinity where there is none."""
    inside = b * b - a * c
    first = (-b - np.sqrt(np.maximum(inside, 0))) / a
    return np.where(inside >= 0, first, np.inf)


def _round(start: Floats, along: Floats) -> Hits:
    t = _root(1.0, start @ along, (start**2).sum(-1) - 1)
    return [(t, _at(start, along, t))]


def _box(start: Floats, along: Floats) -> Hits:
    """Six faces of a cube of edge 1.4."""
    half = 0.7
    hits = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            t = (side * half - start[..., axis]) / along[axis]
            at = _at(start, along, t)
            others = np.delete(at, axis, axis=-1)
            inside = (np.abs(others) <= half).all(-1) & (along[axis] * side < 0)
            outward = np.zeros(3)
            outward[axis] = side
            hits.append((np.where(inside, t, np.inf), np.broadcast_to(outward, at.shape)))
    return hits


def _standing(start: Floats, along: Floats, taper: float) -> Hits:
    """Cylinder or cone about y, from y = -0.9 to 0.9; radius 0.75 - taper * y, for the cone 0 at the top."""
    low, high = -0.9, 0.9
    radius = 0.75 if taper == 0 else taper * high
    slope = np.array([1.0, -(taper**2), 1.0])
    a = float((slope * along**2).sum())
    reach = radius - taper * start[..., 1]
    b = start[..., 0] * along[0] + start[..., 2] * along[2] + taper * along[1] * reach
    c = start[..., 0] ** 2 + start[..., 2] ** 2 - reach**2
    t = _root(a, b, c)
    at = _at(start, along, np.where(np.isfinite(t), t, 0))
    height = at[..., 1]
    t = np.where((height >= low) & (height <= high), t, np.inf)
    outward = np.stack([at[..., 0], taper * np.abs(radius - taper * height), at[..., 2]], -1)
    length = np.linalg.norm(outward, axis=-1, keepdims=True)
    hits = [(t, outward / np.maximum(length, 1e-9))]
    for end, up in ((low, -1.0), (high, 1.0)):
        cap = (end - start[..., 1]) / along[1]
        place = _at(start, along, cap)
        rim = radius - taper * end
        inside = (place[..., 0] ** 2 + place[..., 2] ** 2 <= rim**2) & (along[1] * up < 0)
        flat = np.broadcast_to(np.array([0.0, up, 0.0]), place.shape)
        hits.append((np.where(inside, cap, np.inf), flat))
    return hits


def _at(start: Floats, along: Floats, t: Floats) -> Floats:
    out: Floats = start + np.where(np.isfinite(t), t, 0)[..., None] * along
    return out
