"""The wire format, without any socket: what a message is made of.

A request is a JSON header frame and, where a picture goes along, the picture's bytes as a second frame of their own. A reply and
a publication are JSON. Both sides speak the same values (`Pointing`, `Point`). docs/wire.md is the specification for everybody
who does not use this package.

messages    the values: Request, Reply, Publication and what they hold
codec       values to frames and back
failures    exceptions to error bodies and back
filesize    a picture file's size from its first bytes
pictures    what a user has, made into a payload; what came in, checked
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
    read,
    topic,
)
from molmo_point.wire.failures import (
    UnknownRequest,
    UnknownValue,
    ViewGone,
    WireError,
    error_body,
    error_from,
)
from molmo_point.wire.filesize import stored_size
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
from molmo_point.wire.pictures import ArrayEncoding, Picture, check_picture, picture_from

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
    "Op",
    "Picture",
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
    "check_picture",
    "decode_publication",
    "decode_reply",
    "decode_request",
    "encode_publication",
    "encode_reply",
    "encode_request",
    "error_body",
    "error_from",
    "first_problem",
    "peek_id",
    "picture_from",
    "read",
    "sniff",
    "stored_size",
    "topic",
]
