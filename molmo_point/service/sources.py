"""Where frames come from: a camera of this machine, a video file, or a stream on the network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_point.errors import ServerGone, UsageError
from molmo_point.images import Array
from molmo_point.install import import_failure

try:
    import cv2
except ImportError as error:
    raise import_failure(error, "cv2", "tracking", "reading cameras and videos") from error

OPEN_MS = 10_000
READ_MS = 10_000
"""How long a stream may stay silent before it counts as gone."""


@dataclass(frozen=True)
class SourceFrame:
    """One frame.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        stamp_ns: Wall clock of a live source, place in the video of a file.
        time_s: The same on a clock that does not jump, seconds.
    """

    image: Array
    stamp_ns: int
    time_s: float


def frames(source: str, *, paced: bool = True) -> Iterator[SourceFrame]:
    """Yield the frames of a source until it ends.

    Args:
        source: Number of a camera ("0"), path of a video, or rtsp://, http://, udp:// address of a stream.
        paced: Give a video's frames at the rate they were taken at, not as fast as they can be read.

    Raises:
        UsageError: There is no such camera or file, or it holds no video.
        ServerGone: A stream on the network does not answer.
    """
    live = source.isdigit() or "://" in source
    if not live and not Path(source).is_file():
        raise UsageError(
            f"there is no video {source}: give a file, a camera's number or a stream's address"
        )
    capture = _open(source)
    try:
        yield from _live(capture) if live else _recorded(capture, paced)
    finally:
        capture.release()


def _open(source: str) -> Any:
    if source.isdigit():
        capture = cv2.VideoCapture(int(source))
    else:
        limits = [
            int(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC),
            OPEN_MS,
            int(cv2.CAP_PROP_READ_TIMEOUT_MSEC),
            READ_MS,
        ]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    if capture.isOpened():
        return capture
    capture.release()
    if "://" in source:
        raise ServerGone(
            f"no video comes from {source}: check the address and that it can be reached"
        )
    what = f"camera {source}" if source.isdigit() else source
    raise UsageError(f"{what} cannot be opened as a video")


def _live(capture: Any) -> Iterator[SourceFrame]:
    while True:
        good, image = capture.read()
        if not good:
            return
        yield SourceFrame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), time.time_ns(), time.monotonic())


def _recorded(capture: Any, paced: bool) -> Iterator[SourceFrame]:
    rate = capture.get(cv2.CAP_PROP_FPS)
    step_s = 1.0 / rate if 1.0 <= rate <= 1000.0 else 1.0 / 30
    began = time.monotonic()
    number = 0
    while True:
        good, image = capture.read()
        if not good:
            return
        at_s = number * step_s
        if paced:
            time.sleep(max(0.0, began + at_s - time.monotonic()))
        yield SourceFrame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), round(at_s * 1e9), at_s)
        number += 1
