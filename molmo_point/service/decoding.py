"""Images are decoded and cut into crops before their turn, in threads of their own: the model never waits for them.

A Pointer that answers one question after the other reads small images itself, and cuts all of them: it is free when it does.

A deadline that passes meanwhile is told on time by the queue. What decoding may cost at most is bounded in `decoding_cost`.
"""

from __future__ import annotations

import logging
import threading

from molmo_point.defaults import SHUTDOWN_GRACE_S
from molmo_point.errors import PointError
from molmo_point.images import Array, load_image
from molmo_point.pointer import Images
from molmo_point.service.job import Job
from molmo_point.service.request_queue import RequestQueue
from molmo_point.service.sequential import internal_error
from molmo_point.wire import JoinedPayload, Payload

log = logging.getLogger(__name__)

THREADS = 2


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
                    image = load_payload(image_payload, self._max_pixels)
                prepare = self._queue.prepare
                if prepare is None:
                    job.decoded = image
                else:
                    job.prepared = prepare(image, **job.detail)
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


def load_payload(payload: Payload, max_pixels: int) -> Images:
    """Decode what came with a request: an image, a list of images or a video.

    Args:
        max_pixels: Largest width x height by the decoder's own word, of several images together.

    Raises:
        ImageError: One of them is damaged or too large.
    """
    if not isinstance(payload, JoinedPayload):
        return load_image(payload.image(), max_pixels=max_pixels)
    arrays: list[Array] = []
    left = max_pixels
    for part in payload.parts:
        arrays.append(load_image(part.image(), max_pixels=left))
        left -= arrays[-1].shape[0] * arrays[-1].shape[1]
    return payload.of(arrays)
