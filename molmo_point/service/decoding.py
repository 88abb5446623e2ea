"""Images are decoded and cut into crops before their turn, in threads of their own: the model never waits for them.

A Pointer that answers one question after the other reads small images itself, and cuts all of them: it is free when it does.

A deadline that passes meanwhile is told on time by the queue. What one image may cost at most is bounded here: its pixels, and
the number of passes that a JPEG makes over them.
"""

from __future__ import annotations

import logging
import threading

from molmo_point.defaults import SHUTDOWN_GRACE_S
from molmo_point.errors import ImageError, PointError
from molmo_point.images import load_image
from molmo_point.service.file_structure import check_png, jpeg_scans
from molmo_point.service.job import Job
from molmo_point.service.request_queue import RequestQueue
from molmo_point.service.sequential import internal_error
from molmo_point.wire import ImagePayload

log = logging.getLogger(__name__)

QUICK_PIXELS = 2_500_000
"""Up to a Full HD frame: 15 ms for a photograph, 65 ms for noise as lossless WebP."""

QUICK_FILES = frozenset({"jpeg", "png", "webp"})
"""Formats whose size is known without a decoder."""

MAX_SCANS = 64
"""Scans of one JPEG. Cameras write 1, progressive encoders about 10."""

MAX_WORK = 16
"""Scans of a JPEG times its pixels, in units of the largest image: 5 s of one core at 50 megapixels."""

THREADS = 2


def decode_pixels(
    image_payload: ImagePayload, size: tuple[int, int] | None, max_pixels: int
) -> tuple[int, bool]:
    """Return how many pixels have to be decoded, 0 for raw ones, and whether that takes little time.

    Args:
        image_payload: As it came.
        size: (width, height) as its first bytes say, None where they do not.
        max_pixels: Largest image.

    Raises:
        ImageError: It takes more work than any camera's image, or states two sizes.
    """
    encoding = image_payload.header.encoding
    if encoding == "raw":
        return 0, True
    if size is None or encoding not in QUICK_FILES:
        return max_pixels, False
    pixels = size[0] * size[1]
    scans = 1
    if encoding == "jpeg":
        most = min(MAX_SCANS, MAX_WORK * max_pixels // pixels)
        scans = jpeg_scans(image_payload.data, most)
        if scans > most:
            raise ImageError(
                f"the JPEG has more than {most} scans over its {pixels:,} pixels: save it as a baseline JPEG"
            )
    elif encoding == "png":
        check_png(image_payload.data)
    return pixels, pixels * scans <= QUICK_PIXELS


class Decoding:
    """The threads that decode what waits in the queue.

    Args:
        queue: The queue.
        max_pixels: Largest width x height, by the decoder's own word.
    """

    def __init__(self, queue: RequestQueue, max_pixels: int) -> None:
        self._queue = queue
        self._max_pixels = max_pixels
        self._threads = [
            threading.Thread(target=self._run, name=f"molmo-decode-{number}", daemon=True)
            for number in range(THREADS)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = SHUTDOWN_GRACE_S) -> None:
        """Wait for the threads, which end when the queue is closed; `timeout_s` seconds for each at the latest."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout_s)

    def _run(self) -> None:
        while not self._queue.closed:
            job = self._queue.take_to_decode(1.0)
            if job is not None:
                self._decode(job)

    def _decode(self, job: Job) -> None:
        try:
            image_payload = job.image_payload
            if image_payload is not None and not job.finished:
                image = job.decoded
                if image is None:
                    image = load_image(image_payload.image(), max_pixels=self._max_pixels)
                prepare = self._queue.prepare
                if prepare is None:
                    job.decoded = image
                else:
                    job.prepared = prepare(image)
                    job.decoded = None
        except PointError as error:
            self._queue.remove(job)
            job.fail(error)
        except Exception as error:
            log.exception("an image could not be decoded")
            self._queue.remove(job)
            job.fail(internal_error(error))
        finally:
            self._queue.decoded(job)
