"""The wire format, without any socket: what a message is made of.

A request is a JSON header frame and, where an image goes along, the image's bytes as a second frame of their own. A reply and
a publication are JSON. Both sides speak the same values (`Pointing`, `Point`). docs/wire.md is the specification for everybody
who does not use this package.

messages       the values: Request, Reply, Publication and what they hold
codec          values to frames and back
errors         exceptions to error bodies and back
image_header   an image file's size from its first bytes
image_payload  what a user has, made into a payload; what came in, checked
joined_payload  several images, or a video, in one frame
"""

from molmo_point.images.formats import sniff
from molmo_point.wire.codec import (
    MAX_REPLY_HEADER,
    MAX_REQUEST_HEADER,
    Buffer,
    decode_publication,
    decode_reply,
    decode_request,
    encode_publication,
    encode_reply,
    encode_request,
    first_problem,
    peek_id,
    topic,
    validate_lenient,
)
from molmo_point.wire.errors import (
    NothingThere,
    UnknownRequest,
    UnknownValue,
    ViewGone,
    WireError,
    error_body,
    error_from,
)
from molmo_point.wire.image_header import stored_size
from molmo_point.wire.image_payload import (
    ArrayEncoding,
    ImagePayload,
    check_image_payload,
    make_image_payload,
)
from molmo_point.wire.joined_payload import (
    JoinedPayload,
    Payload,
    join_payloads,
    make_payload,
    payload_of,
)
from molmo_point.wire.messages import (
    ENVELOPE,
    QUESTIONS,
    VERSION,
    ErrorBody,
    ImageHeader,
    Op,
    Publication,
    Reply,
    Request,
    ServerInfo,
    Track,
    ViewInfo,
)

__all__ = [
    "ENVELOPE",
    "MAX_REPLY_HEADER",
    "MAX_REQUEST_HEADER",
    "QUESTIONS",
    "VERSION",
    "ArrayEncoding",
    "Buffer",
    "ErrorBody",
    "ImageHeader",
    "ImagePayload",
    "JoinedPayload",
    "NothingThere",
    "Op",
    "Payload",
    "Publication",
    "Reply",
    "Request",
    "ServerInfo",
    "Track",
    "UnknownRequest",
    "UnknownValue",
    "ViewGone",
    "ViewInfo",
    "WireError",
    "check_image_payload",
    "decode_publication",
    "decode_reply",
    "decode_request",
    "encode_publication",
    "encode_reply",
    "encode_request",
    "error_body",
    "error_from",
    "first_problem",
    "join_payloads",
    "make_image_payload",
    "make_payload",
    "payload_of",
    "peek_id",
    "sniff",
    "stored_size",
    "topic",
    "validate_lenient",
]
