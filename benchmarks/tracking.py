"""Accuracy of point tracking: a synthetic camera over a known plane, with ground truth to a fraction of a pixel.

    python benchmarks/tracking.py [--frames 60] [--json]

640x480, 20 points, 60 frames (two seconds). Each scene has one answer, about its first frame, which arrives with a delay; after
that only the tracker moves points. Error: of points that are tracked and not occluded. Dropped: occluded points that are lost
within five frames. Time: CPU time of one `add_frame` on one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from molmo_point.points import Point, Pointing, Status
from molmo_point.tracking.tracker import Tracker

WIDTH, HEIGHT = 640, 480
FPS = 30
WITHIN = 5


@dataclass(frozen=True)
class Scene:
    """A camera's path: `view(t)` gives (2, 3), plane to image; `occluder(t)` the covering box (left, top, right, bottom)."""

    name: str
    view: Callable[[int], np.ndarray]
    occluder: Callable[[int], tuple[float, float, float, float]] | None = None
    noise: float = 2.0
    delay: int = 0
    light: Callable[[int], float] = lambda t: 1.0


def similarity(zoom: float, angle: float, dx: float, dy: float) -> np.ndarray:
    """Return (2, 3): scale, rotation (radians) and shift (pixels) about the plane's center, into the image."""
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    middle = np.array([800.0, 800.0])
    shift = np.array([WIDTH / 2 + dx, HEIGHT / 2 + dy]) - linear @ middle
    return np.column_stack([linear, shift])


SCENES = [
    Scene("still", lambda t: similarity(1, 0, 0, 0)),
    Scene("pan", lambda t: similarity(1, 0, 3.0 * t - 90, 1.0 * t)),
    Scene("fast pan", lambda t: similarity(1, 0, 170 * np.sin(t / 9), 0)),
    Scene("zoom", lambda t: similarity(1.012**t, 0, 0, 0)),
    Scene("zoom out", lambda t: similarity(1.6 * 0.988**t, 0, 0, 0)),
    Scene("rotation", lambda t: similarity(1, 0.02 * t, 0, 0)),
    Scene(
        "all of it",
        lambda t: similarity(1 + 0.3 * np.sin(t / 20), 0.2 * np.sin(t / 12), 2 * t, -t),
    ),
    Scene(
        "occluder",
        lambda t: similarity(1, 0, 1.0 * t, 0),
        lambda t: (-260.0 + 9 * t, -10.0, -20.0 + 9 * t, 490.0),
    ),
    Scene("late answer", lambda t: similarity(1, 0.005 * t, 2.0 * t, 0), delay=20),
    Scene(
        "changing light", lambda t: similarity(1, 0, t, 0), light=lambda t: 1 + 0.3 * np.sin(t / 7)
    ),
]


@lru_cache
def canvas(seed: int = 0, size: int = 1600) -> np.ndarray:
    """Return (size, size, 3) uint8: blobs of many sizes, as surfaces of indoor scenes have them."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size, 3), np.float32)
    for cell, strength in ((4, 25), (16, 50), (64, 60), (200, 40)):
        small = rng.normal(0, 1, (size // cell + 2, size // cell + 2, 3)).astype(np.float32)
        total += strength * cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + total, 0, 255).astype(np.uint8)


@lru_cache
def grain() -> np.ndarray:
    """Return (480, 640, 3) float32: the camera's noise, rolled on for each frame."""
    return np.random.default_rng(0).normal(0, 1, (HEIGHT, WIDTH, 3)).astype(np.float32)


def render(scene: Scene, plane: np.ndarray, cover: np.ndarray, t: int) -> np.ndarray:
    """Return the image at frame `t`, (480, 640, 3) uint8."""
    image = cv2.warpAffine(
        plane, scene.view(t), (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    if scene.occluder is not None:
        left, top, right, bottom = (round(v) for v in scene.occluder(t))
        x0, x1 = max(0, left), min(WIDTH, right)
        if x0 < x1:
            image[max(0, top) : bottom, x0:x1] = cover[:HEIGHT, x0 - left : x1 - left]
    noise = scene.noise * np.roll(grain(), 7919 * t)
    return np.clip(image * scene.light(t) + noise, 0, 255).astype(np.uint8)


def project(scene: Scene, plane_uv: np.ndarray, t: int) -> np.ndarray:
    """Return (N, 2): where points of the plane are in the image, pixel centres on integers."""
    view = scene.view(t)
    return plane_uv @ view[:, :2].T + view[:, 2]


def covered(scene: Scene, uv: np.ndarray, t: int) -> np.ndarray:
    """Return (N,) bool: behind the occluder or outside the image."""
    hidden = ((uv < 0) | (uv > [WIDTH - 1, HEIGHT - 1])).any(axis=1)
    if scene.occluder is not None:
        left, top, right, bottom = scene.occluder(t)
        x, y = uv[:, 0], uv[:, 1]
        hidden |= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return hidden


def run(scene: Scene, frames: int, points: int = 20) -> dict[str, float | str | int]:
    """Follow one scene; return what came of it."""
    rng = np.random.default_rng(3)
    plane, cover = canvas(0), canvas(1)
    image_uv = np.column_stack([rng.uniform(120, 520, points), rng.uniform(100, 380, points)])
    first = scene.view(0)
    plane_uv = (image_uv - first[:, 2]) @ np.linalg.inv(first[:, :2]).T
    tracker = Tracker()
    marks = tuple(
        Point(x=(u + 0.5) / WIDTH, y=(v + 0.5) / HEIGHT, label=str(i), index=i)
        for i, (u, v) in enumerate(image_uv)
    )
    pointing = Pointing(query="x", points=marks, status=Status.FOUND, image_size=(WIDTH, HEIGHT))
    errors, seconds = [], []
    followed: set[int] = set()
    hidden_since: dict[int, int] = {}
    given_up: dict[int, int] = {}
    for t in range(frames):
        image = render(scene, plane, cover, t)
        began = time.process_time()
        number = tracker.add_frame(image, t / FPS)
        seconds.append(time.process_time() - began)
        if t == 0:
            asked = number
        if t == scene.delay:
            assert tracker.add_answer(asked, pointing)
            followed = set(range(points))
        if t < scene.delay:
            continue
        truth = project(scene, plane_uv, t)
        hidden = covered(scene, truth, t)
        answer, _ = tracker.answer("x")
        now = {int(point.label): point for point in answer.points}
        for i in range(points):
            if hidden[i] and i in followed:
                hidden_since.setdefault(i, t)
            if i in followed and i not in now:
                followed.discard(i)
                given_up[i] = t
            if i in now and not hidden[i] and i not in hidden_since:
                at = np.array([now[i].x * WIDTH, now[i].y * HEIGHT]) - 0.5
                errors.append(float(np.linalg.norm(at - truth[i])))
    in_time = [
        given_up.get(i, 10**9) - since <= WITHIN
        for i, since in hidden_since.items()
        if since + WITHIN < frames
    ]
    visible = [i for i in range(points) if i not in hidden_since]
    kept = sum(i in followed for i in visible)
    return {
        "scene": scene.name,
        "median error px": round(statistics.median(errors), 3),
        "p95 error px": round(float(np.percentile(errors, 95)), 3),
        "visible kept": round(kept / max(1, len(visible)), 3),
        "covered": len(in_time),
        "dropped in time": round(sum(in_time) / len(in_time), 3) if in_time else 1.0,
        "median ms a frame": round(1e3 * statistics.median(seconds[scene.delay + 2 :]), 2),
        "p95 ms a frame": round(1e3 * float(np.percentile(seconds[scene.delay + 2 :], 95)), 2),
    }


def main() -> None:
    """Run every scene and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="One JSON list instead of a table.")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = [run(scene, options.frames) for scene in SCENES]
    if options.json:
        print(json.dumps(rows))
        return
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


if __name__ == "__main__":
    main()
