"""One question about several images together, or about a video: `point a.png b.png --together`, `point clip.mp4`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import typer

from molmo_point.cli.answers import Answer, overall_code
from molmo_point.cli.asking import Asking, Shown, report_skipped
from molmo_point.cli.inputs import CollectedImages, InputImage
from molmo_point.cli.model_options import ModelSelection, open_pointer
from molmo_point.cli.outputs import AnnotatedOutputs
from molmo_point.errors import UsageError

if TYPE_CHECKING:
    from molmo_point.engine.local import LocalPointer
    from molmo_point.images import Array
    from molmo_point.pointer import Images, Video


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are asked about; None is for as in training.

    Attributes:
        fps: Most frames a second.
        frames: Most frames; a server may take fewer.
    """

    fps: float | None = None
    frames: int | None = None

    @property
    def given(self) -> bool:
        """Whether anything was said."""
        return self.fps is not None or self.frames is not None


def is_one_question(found: CollectedImages, together: bool, sampling: Sampling) -> bool:
    """Return whether the images are asked about together.

    Raises:
        UsageError: A video among other images, or frames of what is no video.
    """
    from molmo_point.count_runs.videos import is_video

    video = any(image.path is not None and is_video(image.name) for image in found.images)
    if video and len(found.images) > 1:
        raise UsageError(
            f"expected one video, or images, got {len(found.images)} files with a video among them: ask about each by itself"
        )
    if sampling.given and not video:
        raise UsageError(
            "--fps and --frames choose the frames of a video, and none is among the images"
        )
    return video or (together and len(found.images) > 1)


def ask_together(
    found: CollectedImages,
    queries: Sequence[str],
    where: ModelSelection,
    shown: Shown,
    sampling: Sampling,
    *,
    timeout_s: float | None,
) -> NoReturn:
    """Ask every query once about all images, print the answers and draw them; leave with the exit code."""
    from molmo_point.markup.noun_phrase import noun_phrase

    outputs = None
    if shown.out is not None:
        outputs = AnnotatedOutputs(
            shown.out, found.images, several=True, overwrite=shown.overwrite
        )
    report_skipped(found, shown.quiet)
    name = ", ".join(image.name for image in found.images)
    asking = Asking("point", queries, len(queries) > 1, timeout_s, shown.as_json, shown.quiet)
    answers: list[Answer] = []
    with open_pointer(where, quiet=shown.quiet) as opened:
        # Of the pointers that the command line opens those take several images that can; others refuse them by name.
        pointer: LocalPointer = opened  # type: ignore[assignment]
        given, images = _given(
            found.images, sampling, _most_frames(opened), draw=outputs is not None
        )
        for query in queries:
            pointing = pointer.point(given, noun_phrase(query), timeout_s=timeout_s)
            answer = Answer(name, query, pointing=pointing.replace(query=query))
            asking.show(answer)
            asking.remark(answer)
            if outputs is not None and answer.pointing is not None:
                outputs.write_each(images, answer.pointing)
            answers.append(answer)
    raise typer.Exit(overall_code(answers))


def _most_frames(pointer: object) -> int:
    """Return how many frames a question may have: a server says it."""
    from molmo_point.video_file import FRAMES

    info = getattr(pointer, "info", None)
    return FRAMES if info is None else max(1, min(FRAMES, info().max_frames))


def _given(
    images: Sequence[InputImage], sampling: Sampling, most: int, *, draw: bool
) -> tuple[Images, list[InputImage]]:
    """Return what is asked about, and the images, or with `draw` the frames, to draw on."""
    from molmo_point.count_runs.videos import is_video
    from molmo_point.images import load_image
    from molmo_point.video_file import FPS, read_video

    first = images[0]
    if first.path is None or not is_video(first.name):
        return [image.source for image in images], list(images)
    frames = most if sampling.frames is None else sampling.frames
    fps = FPS if sampling.fps is None else sampling.fps
    video: Video = read_video(first.path, fps=fps, frames=frames)
    frames_and_times = zip(video.frames, video.times_s, strict=True) if draw else ()
    return video, [
        InputImage(f"{first.stem}-{time_s:.2f}s", _png(load_image(frame)))
        for frame, time_s in frames_and_times
    ]


def _png(image: Array) -> bytes:
    """Return the bytes of an image file."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()
