"""Values to frames and back: `encode_*` and `decode_*` are inverses and do no I/O.

What comes from a peer is refused with one sentence and never trusted: sizes are checked before anything is read, depth is
limited, nothing is pickled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar, Union

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from molmo_point.errors import VersionMismatch
from molmo_point.wire.errors import UnknownValue, WireError
from molmo_point.wire.messages import (
    VERSION,
    Header,
    ImageHeader,
    Publication,
    Reply,
    Request,
)

MAX_REQUEST_HEADER = 64 * 1024
"""Bytes. A header holds a query and a few numbers; a peer that sends more does not speak this protocol."""

MAX_REPLY_HEADER = 16 * 1024 * 1024
"""Bytes. A thousand points with their labels are about 200 kB."""

Buffer = Union[bytes, memoryview]


def encode_request(request: Request, payload: Buffer | None = None) -> list[Buffer]:
    """Return the frames of a request; the inverse of `decode_request`. The payload is not copied."""
    header = request.model_dump_json(exclude_defaults=True, exclude={"v"}).encode()
    frames: list[Buffer] = [_with_version(header)]
    if payload is not None:
        frames.append(payload)
    return frames


def decode_request(frames: Sequence[Buffer]) -> tuple[Request, Buffer | None]:
    """Read a request; the inverse of `encode_request`.

    Raises:
        WireError: Not a request of this protocol, or an image frame that does not fit its header.
        VersionMismatch: A request of another version of it.
    """
    if len(frames) not in (1, 2):
        raise WireError(f"expected a header frame and at most one image frame, got {len(frames)}")
    request = _decode(Request, frames[0], MAX_REQUEST_HEADER)
    payload = frames[1] if len(frames) == 2 else None
    if (payload is None) != (request.image is None and not request.images):
        have = "without its bytes" if payload is None else "bytes without a description"
        raise WireError(f'"image" in the header and a second frame go together, got {have}')
    if payload is not None:
        _check_payload(request, payload)
    return request, payload


def _check_payload(request: Request, payload: Buffer) -> None:
    size = payload.nbytes if isinstance(payload, memoryview) else len(payload)
    if request.image is not None:
        _check_length(request.image, size)
        return
    lengths = [header.length or 0 for header in request.images]
    if sum(lengths) != size:
        raise WireError(
            f"the lengths of {len(lengths)} images are {sum(lengths):,} bytes together, the image frame has {size:,}"
        )
    for header, length in zip(request.images, lengths, strict=True):
        _check_length(header, length)


def _check_length(image: ImageHeader, size: int) -> None:
    if image.shape is not None and size != math.prod(image.shape):
        raise WireError(
            f"shape {list(image.shape)} of uint8 is {math.prod(image.shape):,} bytes, the image frame has {size:,}"
        )
    if size == 0:
        raise WireError("the image frame is empty")


def encode_reply(reply: Reply) -> bytes:
    """Return the header frame of a reply; the inverse of `decode_reply`."""
    return _with_version(reply.model_dump_json(exclude_defaults=True, exclude={"v"}).encode())


def decode_reply(frames: Sequence[Buffer]) -> Reply:
    """Read a reply; the inverse of `encode_reply`.

    Raises:
        WireError: Not a reply of this protocol.
        VersionMismatch: A reply of another version of it.
    """
    if len(frames) != 1:
        raise WireError(f"expected a reply of one frame, got {len(frames)}")
    return _decode(Reply, frames[0], MAX_REPLY_HEADER)


def encode_publication(publication: Publication) -> list[bytes]:
    """Return the topic frame and the header frame; the inverse of `decode_publication`."""
    body = publication.model_dump_json(exclude_defaults=True, exclude={"v"}).encode()
    return [topic(publication.camera), _with_version(body)]


def decode_publication(frames: Sequence[Buffer]) -> Publication:
    """Read a publication; the inverse of `encode_publication`.

    Raises:
        WireError, VersionMismatch: As in `decode_reply`.
    """
    if len(frames) != 2:
        raise WireError(f"expected a topic frame and a header frame, got {len(frames)} frames")
    return _decode(Publication, frames[1], MAX_REPLY_HEADER)


def topic(camera: str) -> bytes:
    """Return the PUB/SUB topic of a camera."""
    return b"points/" + camera.encode()


def peek_id(frames: Sequence[Buffer]) -> str:
    """Return the id of a request that could not be decoded, as far as it can be read, so that the refusal reaches its caller."""
    if not frames or len(frames[0]) > MAX_REQUEST_HEADER:
        return ""
    try:
        header = from_json(bytes(frames[0]))
    except ValueError:
        return ""
    name = header.get("id") if isinstance(header, dict) else None
    return name if isinstance(name, str) and len(name) <= 128 and name.isprintable() else ""


def _with_version(header: bytes) -> bytes:
    # The version stands first so that a human sees it in a packet dump.
    return b'{"v":%d,' % VERSION + header[1:] if header != b"{}" else b'{"v":%d}' % VERSION


_Model = TypeVar("_Model", bound=Header)


def _decode(model: type[_Model], frame: Buffer, limit: int) -> _Model:
    if len(frame) > limit:
        raise WireError(f"the header frame has {len(frame):,} bytes, the limit is {limit:,}")
    try:
        # Not json.loads: this one has a depth limit of its own and never recurses into the C stack.
        header: Any = from_json(bytes(frame), allow_inf_nan=False)
    except ValueError as error:
        raise WireError(f"the header frame is not JSON in UTF-8: {str(error)[:200]}") from None
    if not isinstance(header, dict):
        raise WireError(f"the header frame must be a JSON object, got {type(header).__name__}")
    version = header.get("v")
    if version != VERSION or isinstance(version, bool):
        raise VersionMismatch(
            f"this side speaks version {VERSION} of the wire protocol, the message says {_show(version)}"
        )
    try:
        return validate_lenient(model, header)
    except ValidationError as error:
        unknown = _unknown_value(error)
        raise (UnknownValue if unknown else WireError)(
            f"the header is not valid: {first_problem(error)}"
        ) from None


def validate_lenient(model: type[_Model], header: dict[str, Any]) -> _Model:
    """Validate a header of a peer that may be newer: what is not known on this side is left out, also from the values in it.

    Args:
        model: What it should be.
        header: Read from JSON; loses what is left out.

    Raises:
        ValidationError: It is something else.
    """
    try:
        return model.model_validate(header)
    except ValidationError as error:
        news = [
            detail["loc"]
            for detail in error.errors(include_url=False, include_input=False)
            if detail["type"] == "extra_forbidden"
        ]
        if not news:
            raise
    for *path, name in news:
        place: Any = header
        for step in path:
            place = place[step]
        del place[name]
    return model.model_validate(header)


def first_problem(error: ValidationError) -> str:
    """Return in one line which field of a message is wrong; a word that a newer peer may know is named as such."""
    unknown = _unknown_value(error)
    detail = (
        unknown or error.errors(include_url=False, include_context=False, include_input=True)[0]
    )
    place = ".".join(str(part) for part in detail["loc"]) or "header"
    if unknown:
        return f"{place} is {_show(detail['input'])}, which this version of molmo-point does not know: bring this side up to date"
    return f"{place}: {detail['msg']}, got {_show(detail.get('input'))}"


def _unknown_value(error: ValidationError) -> ErrorDetails | None:
    """Return the problem that is a status or finish reason that this version does not have, or None."""
    words = (
        detail
        for detail in error.errors(include_url=False, include_context=False)
        if detail["type"] == "enum"
        and detail["loc"][-1] in ("status", "finish_reason")
        and isinstance(detail["input"], str)
    )
    return next(words, None)


def _show(value: object) -> str:
    # Python refuses to print integers of thousands of digits.
    huge = isinstance(value, int) and value.bit_length() > 256
    return "a very large number" if huge else repr(value)[:80]
