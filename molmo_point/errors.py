"""All errors of the package, as one tree.

PointError                  base of all: catch this one
├── UsageError              the caller can correct it (exit code 2, HTTP 400); also a ValueError
│   ├── ImageError          not an image, truncated, too large, wrong array
│   ├── QueryError          empty, too long
│   ├── ModelNotFound       unknown model; the message offers the nearest names
│   ├── CheckpointError     a folder without a complete, valid checkpoint
│   ├── MarkupError         values that the point markup cannot express
│   ├── MissingExtra        an optional dependency is not installed; gives the pip line
│   ├── BrokenInstall       an optional dependency is installed but cannot be imported; gives the import error
│   └── DownloadError       a download failed: no connection, no disk space
├── Cancelled               the caller cancelled the request
├── ModelFailed             the model computed NaN or infinity, or ran out of memory
├── BatchError              some items of a batch failed; `results` holds the answers of the others
└── ServiceError            a pointing server did not answer the request
    ├── ServerGone          no server answers at that address
    ├── Refused             the server refused: key, token, policy, bad request
    ├── Busy                the server's queue is full: try again later
    ├── Superseded          a newer frame of the same camera replaced this one
    ├── TimedOut            no answer before the deadline; also a TimeoutError
    └── VersionMismatch     client and server speak different protocol versions

Every message says what was expected, what came, and what to do. `kind` names the class on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class PointError(Exception):
    """Base class of all errors that molmo-point raises on purpose. Can be pickled (multiprocessing)."""

    kind: ClassVar[str] = "internal"

    def __reduce__(self) -> tuple[Any, ...]:
        # Constructors of subclasses do not take the finished message.
        return _restored, (type(self), self.args, dict(self.__dict__))


class UsageError(PointError, ValueError):
    """The caller can correct this: a wrong argument, file or option."""

    kind = "usage"


class ImageError(UsageError):
    """The image cannot be read, is too large, or is not an image."""

    kind = "image"


class QueryError(UsageError):
    """The query is empty or longer than the model's context."""

    kind = "query"


class ModelNotFound(UsageError):
    """No model, folder or hub repository has that name."""

    kind = "model_not_found"


class CheckpointError(UsageError):
    """A checkpoint folder is incomplete, damaged, or of another architecture."""

    kind = "checkpoint"


class MarkupError(UsageError):
    """The points cannot be expressed in Molmo's text format."""

    kind = "markup"


class MissingExtra(UsageError):
    """An optional dependency is missing; the message contains the pip line that installs it (`molmo_point.install`)."""

    kind = "missing_extra"

    def __init__(self, package: str, purpose: str, install: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed: {install}"
        )


class BrokenInstall(UsageError):
    """An optional dependency is installed, but importing it fails: a missing system library, or an incompatible version."""

    kind = "broken_install"

    def __init__(self, package: str, purpose: str, error: Exception, install: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is installed but cannot be loaded ({error}): "
            f"install the system library it names, or update the package with {install} --upgrade"
        )


class DownloadError(UsageError):
    """A checkpoint could not be downloaded; complete files are kept and not fetched again."""

    kind = "download"


class Cancelled(PointError):
    """The caller cancelled the request."""

    kind = "cancelled"


class ModelFailed(PointError):
    """The model did not produce an answer: it computed NaN or infinity, or memory ran out."""

    kind = "model_failed"


class BatchError(PointError):
    """Some items of `point_many` failed.

    Attributes:
        results: For each request, in order, its `Pointing` or the `PointError` that stopped it.
    """

    kind = "batch"

    def __init__(self, results: Sequence[object]) -> None:
        self.results = list(results)
        failures = [(i, r) for i, r in enumerate(self.results) if isinstance(r, PointError)]
        index, first = failures[0]
        super().__init__(
            f"{len(failures)} of {len(self.results)} requests failed; the first is request {index}: {first}. "
            "The answers of the others are in this error's `results`"
        )


class ServiceError(PointError):
    """A pointing server did not answer the request."""

    kind = "service"


class ServerGone(ServiceError):
    """No server answers at the address, or the connection was lost."""

    kind = "server_gone"


class Refused(ServiceError):
    """The server refused the request: missing key, wrong token, forbidden source."""

    kind = "refused"


class Busy(ServiceError):
    """The server's bounded queue is full."""

    kind = "busy"


class Superseded(ServiceError):
    """A newer frame of the same camera arrived while this one was queued."""

    kind = "superseded"


class TimedOut(ServiceError, TimeoutError):
    """No complete answer before the deadline."""

    kind = "timed_out"


class VersionMismatch(ServiceError):
    """Client and server speak different versions of the wire protocol."""

    kind = "version_mismatch"


OF_ONE_REQUEST = (ImageError, QueryError, ModelFailed, TimedOut, Busy, Superseded)
"""Errors of one request. Any other, such as a server that is gone, would meet every further request, too."""


def _restored(kind: type[PointError], args: tuple[Any, ...], fields: dict[str, Any]) -> PointError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error
