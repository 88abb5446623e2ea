"""Where frames come from: a camera of this machine, a video file, or a stream on the network."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_point.errors import ServerGone, UsageError
from molmo_point.images import Array
from molmo_point.tracking.opencv import cv2

log = logging.getLogger(__name__)

OPEN_MS = 10_000
READ_MS = 10_000
"""How long a stream may stay silent before it counts as gone."""

RETRY_S = (0.5, 30.0)
"""Before a lost source is opened again: the first wait, doubled at each further one up to the second number."""


@dataclass(frozen=True)
class SourceFrame:
    """One frame.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        stamp_ns: Wall clock of a live source; place in the video of a recorded one, from the file's own time stamps.
        time_s: The same on a clock that does not jump, seconds.
    """

    image: Array
    stamp_ns: int
    time_s: float


def frames(
    source: str,
    *,
    paced: bool = True,
    reconnect: bool = False,
    stop: threading.Event | None = None,
) -> Iterator[SourceFrame]:
    """Yield the frames of a source until it ends.

    Args:
        source: Number of a camera ("0"), its device file ("/dev/video2", "/dev/v4l/by-id/..."), path of a video or an image, or
            rtsp://, http://, udp:// address of a stream.
        paced: Give a video's frames at the rate they were taken at, not as fast as they can be read.
        reconnect: Open a live source that stops again, waiting longer each time, until it is back.
        stop: Ends the waiting for a lost source.

    Raises:
        UsageError: There is no such camera or file, or it holds no frame.
        ServerGone: A stream on the network does not answer.
    """
    live = _is_camera(source) or "://" in source
    if not live and not Path(source).is_file():
        raise UsageError(
            f"there is no video {shown(source)}: give a file, a camera's number or device file, or a stream's address"
        )
    capture = _open(source)
    try:
        # A video file behind an address has a length; a live stream has none.
        if not live or (not _is_camera(source) and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0):
            yield from _recorded(capture, source, paced)
            return
        yield from _live(capture)
    finally:
        capture.release()
    while reconnect and live and (stop is None or not stop.is_set()):
        capture = _reopen(source, stop or threading.Event())
        if capture is None:
            return
        try:
            yield from _live(capture)
        finally:
            capture.release()


def shown(source: str) -> str:
    """Return a source as it may be printed and logged: cameras on the network often have their password in the address."""
    return re.sub(r"(?<=://)[^/?#]*@", "***@", source)


def _is_camera(source: str) -> bool:
    return source.isdigit() or source.startswith("/dev/")


def _open(source: str) -> Any:
    if _is_camera(source):
        capture = _open_camera(source)
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
            f"no video comes from {shown(source)}: check the address and that it can be reached"
        )
    if _is_camera(source):
        raise UsageError(
            f"camera {source} cannot be opened: check that it is connected, free, and readable for this user"
        )
    raise UsageError(f"{shown(source)} cannot be opened as a video")


def _open_camera(source: str) -> Any:
    if source.isdigit():
        return cv2.VideoCapture(int(source))
    # Links of /dev/v4l/by-id name a camera whatever its number is today.
    device = os.path.realpath(source)
    number = device.removeprefix("/dev/video")
    if number.isdigit():
        return cv2.VideoCapture(int(number), cv2.CAP_V4L2)
    return cv2.VideoCapture(device)


def _reopen(source: str, stop: threading.Event) -> Any:
    """Return the source once it is back, or None when `stop` is set first."""
    wait_s = RETRY_S[0]
    name = shown(source)
    log.warning("%s sends no more frames: trying to open it again", name)
    while not stop.wait(wait_s):
        try:
            capture = _open(source)
        except (ServerGone, UsageError):
            wait_s = min(RETRY_S[1], 2 * wait_s)
            log.warning("%s does not answer: next try in %.0f s", name, wait_s)
            continue
        log.warning("%s is back", name)
        return capture
    return None


def _live(capture: Any) -> Iterator[SourceFrame]:
    while True:
        good, image = capture.read()
        if not good:
            return
        yield SourceFrame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), time.time_ns(), time.monotonic())


def _recorded(capture: Any, source: str, paced: bool) -> Iterator[SourceFrame]:
    rate = capture.get(cv2.CAP_PROP_FPS)
    step_s = 1.0 / rate if 1.0 <= rate <= 1000.0 else 1.0 / 30
    began = time.monotonic()
    at_s: float | None = None
    while True:
        good, image = capture.read()
        if not good:
            break
        # The file's own time stamps: phones and screen recorders do not keep a rate. A file without them keeps the nominal one.
        told_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if at_s is None:
            at_s = max(0.0, told_s)
            began -= at_s
        else:
            at_s = told_s if told_s > at_s else at_s + step_s
        if paced:
            time.sleep(max(0.0, began + at_s - time.monotonic()))
        yield SourceFrame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), round(at_s * 1e9), at_s)
    if at_s is None:
        raise UsageError(
            f"no frame can be read from {shown(source)}: expected a video or an image"
        )
