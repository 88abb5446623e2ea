"""Frames of a video file as a Molmo 2 was trained to see them: at most 2 a second and 384 in all, the last one among them.

Source: `uniform_last_frame` of the processor that comes with the checkpoints (github.com/allenai/molmo2, `olmo/hf_model`);
transformers 5.24 leaves the last frame out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Union

import numpy as np

from molmo_point.errors import ImageError, UsageError
from molmo_point.images.source import printable
from molmo_point.install import import_failure
from molmo_point.pointer import Video

FPS = 2.0
"""Frames a second in training."""

FRAMES = 384
"""Frames of a video in training; as many take 33 thousand tokens."""


def frame_numbers(total: int, rate: float, *, fps: float = FPS, frames: int = FRAMES) -> list[int]:
    """Return which frames of a video a Molmo 2 sees, ascending from 0. Of a slower video than `fps` frames come repeatedly.

    Args:
        total: Number of frames of the video.
        rate: Its frames a second.
        fps: Most frames a second to take.
        frames: Most frames to take.

    Raises:
        UsageError: A number is not above 0.
    """
    if not (total > 0 and rate > 0 and fps > 0 and frames > 0):
        raise UsageError(
            f"expected numbers above 0, got {total} frames at {rate} a second, fps {fps}, frames {frames}"
        )
    if total <= 2:
        return list(range(total))[-frames:]
    if total / rate > frames / fps:
        spread: list[int] = np.linspace(0, total - 1, min(frames, total)).astype(int).tolist()
        return spread
    places = np.arange(0.0, total - 1, rate / fps)
    numbers: list[int] = np.round(places).astype(int).tolist()
    return numbers if numbers[-1] == total - 1 else [*numbers, total - 1]


def read_video(
    path: Union[str, os.PathLike[str]], *, fps: float = FPS, frames: int = FRAMES
) -> Video:
    """Read the frames that a Molmo 2 sees, with their times. Needs OpenCV (the extra "tracking").

    Args:
        path: A file that OpenCV reads (MP4, MOV, AVI, MKV, WebM).
        fps: Most frames a second to take.
        frames: Most frames to take; (H, W, 3) uint8 RGB arrays, in memory together.

    Raises:
        ImageError: There is no such file, or it holds no video.
        MissingExtra: OpenCV is not installed.
        UsageError: `fps` or `frames` is not above 0.
    """
    name = printable(Path(path))
    if not Path(path).is_file():
        raise ImageError(f"there is no file {name}: check the path")
    total, rate = _length(os.fspath(path), name)
    # Each once: repeated frames would have the same time.
    numbers = list(dict.fromkeys(frame_numbers(total, rate, fps=fps, frames=frames)))
    images = _read(os.fspath(path), numbers)
    if len(images) < len(numbers):
        raise ImageError(f"{name} is damaged: {len(images)} of {len(numbers)} frames can be read")
    return Video(images, [number / rate for number in numbers])


def _open(path: str, name: str = "") -> Any:
    try:
        import cv2
    except ImportError as error:
        raise import_failure(error, "cv2", "tracking", "Reading videos") from error
    capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        raise ImageError(f"{name or path} cannot be opened as a video")
    return capture


def _length(path: str, name: str) -> tuple[int, float]:
    """Return the number of frames, counted, since files state wrong ones, and the frames a second."""
    capture = _open(path, name)
    try:
        import cv2

        rate = float(capture.get(cv2.CAP_PROP_FPS))
        total = 0
        while capture.grab():
            total += 1
    finally:
        capture.release()
    if not total:
        raise ImageError(f"{name} holds no frame that can be read")
    if not 0.01 <= rate <= 1000:
        raise ImageError(f"{name} states {rate} frames a second: convert it to MP4 first")
    return total, rate


def _read(path: str, numbers: list[int]) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    import cv2

    capture, images = _open(path), []
    wanted = set(numbers)
    try:
        for number in range(numbers[-1] + 1):
            if not capture.grab():
                break
            if number in wanted:
                good, image = capture.retrieve()
                if not good:
                    break
                images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    return images
