"""Everything that can go wrong, as one tree.

PointError                  base of all: catch this one
├── UsageError              the caller can mend it (exit code 2, HTTP 400); also a ValueError
│   ├── ImageError          not a picture, truncated, too large, wrong array
│   ├── QueryError          empty, too long
│   ├── ModelNotFound       no such model; the nearest names are offered
│   ├── CheckpointError     a folder that does not hold the weights it promises
│   ├── MarkupError         values that the point markup cannot express
│   ├── MissingExtra        an optional dependency is not installed; says which pip line to type
│   └── DownloadError       the hub did not deliver: no connection, no room on the disk
├── Cancelled               the caller withdrew the request before it was done
└── ServiceError            a pointing server did not do what was asked
    ├── ServerGone          nobody answers at that address
    ├── Refused             the server says no: key, token, policy, bad request
    ├── Busy                the server's queue is full: try again later
    ├── Superseded          a newer frame of the same camera took this one's place
    ├── TimedOut            no answer before the deadline; also a TimeoutError
    └── VersionMismatch     client and server speak different protocol versions

Every message says what was expected, what came, and what to do. `kind` is the word for the class on the wire.
"""

from __future__ import annotations

from typing import ClassVar


class PointError(Exception):
    """Base class of every error that molmo-point raises on purpose."""

    kind: ClassVar[str] = "internal"


class UsageError(PointError, ValueError):
    """The caller can mend this: a wrong argument, file or option."""

    kind = "usage"


class ImageError(UsageError):
    """The picture cannot be read, is too large, or is not an image at all."""

    kind = "image"


class QueryError(UsageError):
    """The question is empty or longer than the model's context."""

    kind = "query"


class ModelNotFound(UsageError):
    """No model, folder or hub repository has that name."""

    kind = "model_not_found"


class CheckpointError(UsageError):
    """A checkpoint folder is incomplete, damaged, or of another architecture."""

    kind = "checkpoint"


class MarkupError(UsageError):
    """Points that Molmo's text format cannot express."""

    kind = "markup"


class MissingExtra(UsageError):
    """An optional dependency is missing; the message holds the pip line that installs it."""

    kind = "missing_extra"

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed: "
            f'pip install "molmo-point[{extra}]"'
        )


class DownloadError(UsageError):
    """A checkpoint could not be downloaded; only whole files are kept, and continued with next time."""

    kind = "download"


class Cancelled(PointError):
    """The request was withdrawn by its caller."""

    kind = "cancelled"


class ServiceError(PointError):
    """A pointing server did not do what was asked of it."""

    kind = "service"


class ServerGone(ServiceError):
    """Nobody answers at the address, or the connection broke for good."""

    kind = "server_gone"


class Refused(ServiceError):
    """The server understood and said no: missing key, wrong token, forbidden source."""

    kind = "refused"


class Busy(ServiceError):
    """The server's bounded queue is full."""

    kind = "busy"


class Superseded(ServiceError):
    """A newer frame of the same camera arrived while this one was waiting."""

    kind = "superseded"


class TimedOut(ServiceError, TimeoutError):
    """No complete answer before the deadline."""

    kind = "timed_out"


class VersionMismatch(ServiceError):
    """Client and server speak different versions of the wire protocol."""

    kind = "version_mismatch"
