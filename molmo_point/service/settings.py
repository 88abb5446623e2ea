"""The numbers a server is run with: limits and waits. Each default says why it is what it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from molmo_point.defaults import MAX_FRAMES, MAX_IMAGES, MAX_QUERY_CHARACTERS
from molmo_point.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """Limits of one server.

    Attributes:
        capacity: Questions that wait, over all transports. At ten answers a second 64 are six seconds of waiting:
            beyond that a client is told `busy` at once.
        max_batch: Questions answered together.
        max_message_bytes: Largest image frame or HTTP body. Holds a raw 4K image (25 MB) with room.
        max_queue_bytes: Images of all waiting questions together.
        max_pixels: Largest width x height that is decoded; no Molmo sees more than a few megapixels. Of several images together.
        max_images: Images that one question may be about.
        max_frames: Frames of a video that one question may be about.
        max_query_chars: Longest query.
        default_timeout_s: For questions without a deadline: every wait ends.
        max_views: Opened images kept; each holds keys and values of a whole image in the model's memory.
        decode_ahead: Pixels of the images that may be decoded, or under way to be, before their turn; each takes up to 11
            bytes while it is decoded, 3 afterwards.
        view_idle_s: Seconds after which an opened image without questions is closed.
        memory_answers: Finished answers kept, to answer a repeated request id without computing it twice; minutes of them.
        memory_bytes: Their size together.
        memory_image_bytes: The images of the last answers, kept to tell a repeated request from another one under the same id. A
            request whose image is no longer kept is computed again. Nothing is computed from the images: a digest of each would
            take longer than all the rest that the server does for a request. One full HD frame: while 32 MB are kept, every image
            arrives in memory that no processor cache holds, which takes 0.1 ms for each megabyte.
        memory_s: How long they are kept; longer than any sensible retry.
        max_watches: Cameras with continuous queries.
        camera_idle_s: A camera's name that its owner has not used in a question for so long is free for another client.
        stuck_after_s: One question that runs for longer than this makes the server "not ready".
    """

    capacity: int = 64
    max_batch: int = 8
    max_message_bytes: int = 64 * 1024 * 1024
    max_queue_bytes: int = 512 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_images: int = MAX_IMAGES
    max_frames: int = MAX_FRAMES
    decode_ahead: int = 75_000_000
    max_query_chars: int = MAX_QUERY_CHARACTERS
    default_timeout_s: float = 60.0
    max_views: int = 8
    view_idle_s: float = 120.0
    memory_answers: int = 1024
    memory_bytes: int = 32 * 1024 * 1024
    memory_image_bytes: int = 1024 * 1024
    memory_s: float = 300.0
    max_watches: int = 8
    camera_idle_s: float = 10.0
    stuck_after_s: float = 60.0

    def memory_bound(self) -> int:
        """Return how many bytes requests can make the process hold at most, in addition to the model's own and ZeroMQ's buffers.

        Bodies that arrive over HTTP; questions that wait; two bodies of JSON that are being read (text of four bytes a character,
        and what is decoded from it); images that are being decoded (11 bytes a pixel), wait decoded, and are in use (3 bytes);
        answers that are remembered, and the images of the last ones.
        """
        body = self.max_message_bytes * 3 // 2
        json_bodies = 2 * 6 * body
        images = (11 + 2 * 3) * self.decode_ahead
        remembered = self.memory_bytes + self.memory_image_bytes
        return 2 * self.max_queue_bytes + json_bodies + images + remembered

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            whole = isinstance(limit.default, int)
            kinds = (int,) if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
                number = "a whole number" if whole else "a number"
                raise UsageError(f"expected {limit.name} as {number} above 0, got {value!r}")
            if value <= 0:
                raise UsageError(f"expected {limit.name} above 0, got {value}")
        if self.max_batch > self.capacity:
            raise UsageError(
                f"max_batch {self.max_batch} is more than the queue's capacity {self.capacity}"
            )
