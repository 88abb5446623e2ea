"""Frames of videos as items."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from molmo_point.count_runs.items import Item, unreadable, version_of
from molmo_point.errors import ImageError, UsageError
from molmo_point.install import import_failure

SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")


@dataclass(frozen=True)
class Every:
    """Which frames of a video are counted: every nth frame, or the first of every n seconds.

    Attributes:
        frames: Or None.
        seconds: Or None.
    """

    frames: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> Every:
        """Read "30" (frames) or "2s" (seconds).

        Raises:
            UsageError: Something else, or not more than 0.
        """
        found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?) ?s", text.strip())
        every = None
        if found:
            frames, seconds = found.groups()
            every = cls(int(frames)) if frames else cls(seconds=float(seconds))
        if every is None or not (every.frames or every.seconds):
            raise UsageError(f"expected every how many frames (30) or seconds (2s), got {text!r}")
        return every

    def __str__(self) -> str:
        return f"{self.seconds:g}s" if self.seconds else str(self.frames)


def is_video(name: str) -> bool:
    """Whether a file is taken for a video, by its name."""
    return Path(name).suffix.lower() in SUFFIXES


def video_items(name: str, path: str, queries: tuple[str, ...], every: Every) -> Iterator[Item]:
    """Yield the frames to count, in order, as they are decoded; a video that cannot be read is one item with the reason.

    Raises:
        MissingExtra: OpenCV is not installed.
    """
    from molmo_point.tracking.frame_sources import frames

    identity, version = os.path.abspath(path), version_of(path)
    due_s = 0.0
    try:
        for number, frame in enumerate(frames(path, paced=False)):
            if every.seconds is not None:
                if frame.time_s < due_s - 1e-6:
                    continue
                due_s = (frame.time_s // every.seconds + 1) * every.seconds
            elif number % (every.frames or 1):
                continue
            image = frame.image
            yield Item(
                name,
                identity,
                queries,
                lambda image=image: image,  # type: ignore[misc]
                number,
                round(frame.time_s, 6),
                version,
            )
    except UsageError as error:
        yield Item(name, identity, queries, unreadable(ImageError(str(error))), version=version)


def frame_count(path: str, every: Every) -> int:
    """Return how many frames will be counted, as far as the file says: 0 where it does not.

    Raises:
        MissingExtra: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise import_failure(error, "cv2", "count", "Counting in videos") from error
    capture = cv2.VideoCapture(path)
    frames, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    step = every.frames if every.frames else (every.seconds or 1.0) * (rate or 30.0)
    return max(0, math.ceil(frames / step))
