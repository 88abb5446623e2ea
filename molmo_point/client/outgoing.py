"""Images on their way out: written as the server takes them, or refused here, before anything is sent."""

from __future__ import annotations

from molmo_point.errors import ImageError, UsageError
from molmo_point.pointer import Images
from molmo_point.wire import ArrayEncoding, JoinedPayload, Payload, ServerInfo, make_payload
from molmo_point.wording import counted


def outgoing_payload(
    image: Images, arrays: ArrayEncoding, server: ServerInfo, url: str
) -> Payload:
    """Make an image, several or a video ready to be sent.

    Args:
        arrays: How images that are no files are written.
        server: What the server says about itself; url: its address, for messages.

    Raises:
        ImageError: One cannot be read, or the server does not take images that large.
        UsageError: More images than the server takes in one question.
    """
    payload = make_payload(image, arrays)
    if isinstance(payload, JoinedPayload):
        _check_number(payload, server, url)
    size, limit = len(payload.data), server.max_message_bytes
    if size > limit:
        raise ImageError(
            f"the image has {size:,} bytes, {url} takes {limit:,}: scale it down, or send it as JPEG"
        )
    return payload


def _check_number(payload: JoinedPayload, server: ServerInfo, url: str) -> None:
    frames = bool(payload.times_s)
    most = server.max_frames if frames else server.max_images
    if len(payload.parts) <= most:
        return
    given = counted(len(payload.parts), "frame" if frames else "image")
    at = f"{url} (version {server.version})"
    if server.max_frames == 0:
        raise UsageError(
            f"{at} takes one image a question, got {given}: ask about each by itself, or bring the server up to date"
        )
    raise UsageError(f"{at} takes at most {most} in one question, got {given}: use fewer")
