"""Several images, or the frames of a video, on their way: one frame holds them one behind the other.

One frame, and not one for each image: a server bounds the bytes of a frame before it receives them, not the number of frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Union

from molmo_point.arguments import listed_images
from molmo_point.pointer import Images, Video
from molmo_point.wire.codec import Buffer
from molmo_point.wire.image_payload import ArrayEncoding, ImagePayload, make_image_payload
from molmo_point.wire.messages import ImageHeader, Request


@dataclass(frozen=True, eq=False)
class JoinedPayload:
    """Several images, or frames of a video, ready to be sent.

    Attributes:
        headers: How to read each part of `data`; each with its `length`.
        data: The parts, one behind the other.
        times_s: Times of a video's frames in seconds; () for images.
    """

    headers: tuple[ImageHeader, ...]
    data: Buffer
    times_s: tuple[float, ...] = ()

    @cached_property
    def parts(self) -> tuple[ImagePayload, ...]:
        """The images or frames, not copied."""
        whole = memoryview(self.data)
        ends = list(itertools.accumulate(header.length or 0 for header in self.headers))
        return tuple(
            ImagePayload(header, whole[begin:end])
            for header, begin, end in zip(self.headers, [0, *ends], ends, strict=False)
        )

    def fields(self) -> dict[str, Any]:
        """Return the fields of a `Request` that describe it."""
        return {"images": self.headers, "times_s": self.times_s}

    def image(self) -> Images:
        """Return what a `Pointer` of several images takes.

        Raises:
            UsageError: The times do not ascend.
        """
        return self.of([part.image() for part in self.parts])

    def of(self, images: Sequence[Any]) -> Images:
        """Return images in the place of the parts, as a list or as a video.

        Raises:
            UsageError: The times do not ascend.
        """
        return Video(images, self.times_s) if self.times_s else list(images)


Payload = Union[ImagePayload, JoinedPayload]
"""What a request brings along."""


def make_payload(images: Images, arrays: ArrayEncoding = "raw") -> Payload:
    """Make one image, several or a video ready to be sent. Arguments and errors as of `make_image_payload`.

    Raises:
        UsageError: An empty list.
    """
    listed, times_s = listed_images(images)
    payloads = [make_image_payload(image, arrays) for image in listed]
    if len(payloads) == 1 and not times_s:
        return payloads[0]
    return join_payloads(payloads, times_s)


def join_payloads(
    payloads: Sequence[ImagePayload], times_s: Sequence[float] = ()
) -> JoinedPayload:
    """Return images one behind the other, as a video where they have times."""
    headers = tuple(
        payload.header.model_copy(update={"length": len(payload.data)}) for payload in payloads
    )
    data = bytearray()
    for payload in payloads:
        data += payload.data
    return JoinedPayload(headers, memoryview(data), tuple(times_s))


def payload_of(request: Request, data: Buffer | None) -> Payload | None:
    """Return what came with a request, None where nothing did."""
    if data is None:
        return None
    if request.image is not None:
        return ImagePayload(request.image, data)
    return JoinedPayload(request.images, data, request.times_s) if request.images else None
