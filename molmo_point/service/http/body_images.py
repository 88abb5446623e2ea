"""Images of HTTP requests: from texts and files to what the dispatcher takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from anyio import to_thread
from starlette.requests import Request as HttpRequest

from molmo_point.errors import ImageError, UsageError
from molmo_point.images import decode_base64, sniff
from molmo_point.images.formats import READABLE, other_kind
from molmo_point.service.http.bodies import LARGE, ImagesBody, limiter
from molmo_point.service.http.fetch import Fetcher
from molmo_point.wire import Buffer, ImageHeader, ImagePayload, JoinedPayload, join_payloads

FETCHES = 8
"""Images that are fetched at once."""

Brought = Union[Buffer, JoinedPayload]
"""The file of one image, or several images."""


async def brought_images(
    http: HttpRequest,
    body: ImagesBody,
    files: Sequence[Buffer],
    fetcher: Fetcher,
    *,
    max_bytes: int,
    timeout_s: float | None = None,
) -> Brought | None:
    """Return the image or the images of a request, None without one.

    Args:
        files: Of a multipart body.
        max_bytes: Of several images together.
        timeout_s: As of `image_bytes`.

    Raises:
        ImageError: One of them is none that the server takes, or they are too large together.
        UsageError: They are given in two ways, or not as many as there are times.
        Refused, TimedOut: As of `image_bytes`.
    """
    if body.image is not None and body.images:
        raise UsageError('"image" or "images", not both')
    texts = body.images if body.image is None else [body.image]
    count = len(texts) or len(files)
    if body.times_s and len(body.times_s) != count:
        raise UsageError(f"expected a time for each image, got {len(body.times_s)} for {count}")
    if not count:
        return None
    if count == 1 and not body.times_s:
        return files[0] if files else await image_bytes(http, texts[0], fetcher, timeout_s)
    payloads, size = [], 0
    for place in range(count):
        data = files[place] if files else await image_bytes(http, texts[place], fetcher, timeout_s)
        size += len(data)
        if size > max_bytes:
            raise ImageError(
                f"the images have more than {max_bytes:,} bytes together: use fewer or smaller ones"
            )
        payloads.append(ImagePayload(header_of(data), data))
    return join_payloads(payloads, body.times_s)


async def image_bytes(
    http: HttpRequest, text: str, fetcher: Fetcher, timeout_s: float | None = None
) -> bytes:
    """Return the bytes behind a data: URL, an allowed http(s) URL, or bare base64.

    Args:
        http: The request.
        text: One of the three.
        fetcher: Fetches URLs.
        timeout_s: The caller's deadline, which a fetch must keep, too.

    Raises:
        ImageError: It is none of the three.
        Refused: A URL that is not allowed.
        TimedOut: The image's host took too long.
    """
    if text[:8].lower().startswith(("http://", "https://")):
        # Threads of their own: a slow host delays only the requests that name its images.
        return await fetcher.fetch_soon(text, limiter(http.app, "fetches", FETCHES), timeout_s)
    if not text.isascii():  # in texts of other characters every step costs a hundred times as much
        raise ImageError("the image's base64 is damaged: it holds characters beyond ASCII")
    large = limiter(http.app, "large bodies", LARGE)
    return await to_thread.run_sync(decode_base64, text, "the image", limiter=large)


def header_of(data: Buffer) -> ImageHeader:
    """Return the header for the bytes of an image file.

    Raises:
        ImageError: They are none that the server takes.
    """
    encoding = sniff(data)
    if encoding is None:
        other = other_kind(data)
        found = f"it is {other}" if other else f"it begins {bytes(data[:8])!r}"
        raise ImageError(f"expected an image file ({READABLE}), but {found}")
    return ImageHeader(encoding=encoding)
