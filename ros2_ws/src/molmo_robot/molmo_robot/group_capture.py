"""The images of one question: the newest of several cameras, or the last frames of one, each with the data of its own stamp."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from molmo_robot.errors import MessageError, NoImage, RequestError
from molmo_robot.image_groups import ImageGroup, ImagesRequest
from molmo_robot.settings import Settings
from molmo_robot.snapshot import SnapshotBuilder
from molmo_robot.types import Snapshot


def capture_group(
    builder: SnapshotBuilder,
    request: ImagesRequest,
    settings: Settings,
    timeout_s: float,
    cancelled: Callable[[], bool],
) -> ImageGroup:
    """Choose the images of a request.

    Raises:
        RequestError: Unknown or repeated cameras, several cameras for a video, or more frames than are kept.
        NoImage: A camera has no image, none new enough, or one that cannot be read.
    """
    names = _cameras(builder, request, settings)
    deadline = time.monotonic() + timeout_s
    newest = [
        builder.capture(
            request.about(name), settings, max(0.0, deadline - time.monotonic()), cancelled
        )
        for name in names
    ]
    if not request.frames:
        return ImageGroup(tuple(newest))
    earlier = _earlier_frames(builder, request, settings, newest[0])
    return ImageGroup((*earlier, newest[0]), is_video=True)


def _cameras(
    builder: SnapshotBuilder, request: ImagesRequest, settings: Settings
) -> tuple[str, ...]:
    every = tuple(settings.cameras)
    names = request.cameras or (every[:1] if request.frames else every)
    for name in names:
        builder.buffer(name)
    if len(set(names)) < len(names):
        raise RequestError(
            f"cameras: expected each once, got {', '.join(names)}; frames asks for several images of one camera"
        )
    if request.frames and len(names) > 1:
        raise RequestError(
            f"frames: expected one camera for a video, got {', '.join(names)}; frames 0 asks for one image of each"
        )
    if request.frames > max(1, settings.video_frames):
        raise RequestError(
            f"frames: expected at most {max(1, settings.video_frames)}, got {request.frames}: the parameter video_frames says "
            "how many are kept of each camera"
        )
    return names


def _earlier_frames(
    builder: SnapshotBuilder, request: ImagesRequest, settings: Settings, newest: Snapshot
) -> list[Snapshot]:
    """The frames before the newest one. What belongs to their stamps is there already, or does not come any more."""
    impatient = dataclasses.replace(settings, tf_timeout_s=0.0)
    buffer = builder.buffer(newest.camera.name)
    question = request.about(newest.camera.name)
    try:
        return [
            builder.capture_message(message, question, impatient)
            for _, message in buffer.frames_before(newest.stamp_ns, request.frames - 1)
        ]
    except MessageError as error:
        raise NoImage(str(error)) from error
