"""Errors on the wire: an exception here, a kind, a message and an advice there, and back."""

from __future__ import annotations

from molmo_point.errors import (
    Busy,
    Cancelled,
    CheckpointError,
    ImageError,
    MarkupError,
    ModelFailed,
    ModelNotFound,
    PointError,
    QueryError,
    Refused,
    ServerGone,
    ServiceError,
    Superseded,
    TimedOut,
    UsageError,
    VersionMismatch,
)
from molmo_point.wire.messages import ErrorBody


class WireError(UsageError):
    """The bytes are not a message of this protocol."""

    kind = "protocol"


class UnknownValue(WireError):
    """A message of this protocol with a word that only a newer version knows, such as a further status."""


class ViewGone(ServiceError):
    """The server no longer holds that opened image: send the image again."""

    kind = "view_gone"


class UnknownRequest(ServiceError):
    """The server does not know that request id (it was restarted, or forgot): send the request again."""

    kind = "unknown_request"


class NothingThere(ServiceError):
    """Nothing in the image fits, and the dialect of the answer has no word for that: any text would be read as a position."""

    kind = "nothing_there"


_ADVICE: dict[type[PointError], str] = {
    WireError: "see docs/wire.md for what a message looks like",
    VersionMismatch: "install the same version of molmo-point on both sides",
    ImageError: "send a whole JPEG, PNG, WebP, GIF, AVIF, BMP or TIFF file, or raw pixels with their shape, within the limits",
    QueryError: "say in a few words what to look for",
    Busy: "try again in a moment, with fewer questions at once",
    Superseded: "nothing: ask about the newest frame",
    TimedOut: "give it more time, or ask when fewer questions are waiting",
    Refused: "ask the operator of the server for access",
    Cancelled: "nothing: the request was cancelled",
    ViewGone: "open the image again",
    UnknownRequest: "send the request again, image included",
    NothingThere: "ask for something else, or in a dialect that can say so",
    ServerGone: "check that the server runs and the address is right",
    ModelNotFound: "check the model's name",
    CheckpointError: "check the files of the model",
    ModelFailed: "if memory ran out, ask again in a moment or about a smaller image; else load the model as the message says",
    MarkupError: "check the points",
    UsageError: "correct the request",
    ServiceError: "look into the server's log",
}
_CLASSES: dict[str, type[PointError]] = {cls.kind: cls for cls in _ADVICE}


def error_body(error: PointError) -> ErrorBody:
    """Describe an error for the other side; the inverse of `error_from`."""
    for cls in type(error).__mro__:
        if cls in _ADVICE:
            return ErrorBody(kind=cls.kind, message=str(error), advice=_ADVICE[cls])
    return ErrorBody(kind="service", message=str(error), advice=_ADVICE[ServiceError])


def error_from(body: ErrorBody) -> PointError:
    """Return the exception that an error reply stands for; the inverse of `error_body`. Unknown kinds become `ServiceError`."""
    return _CLASSES.get(body.kind, ServiceError)(body.message)
