"""The numbers of the interfaces, as enumerations. `molmo_point_msgs` is the source; a test compares the two."""

from __future__ import annotations

from enum import IntEnum

from molmo_point.points import Status


class Code(IntEnum):
    """How a request ended: `code` of the action's result and of the service's response."""

    SUCCEEDED = 0
    NO_POINTS = 1
    NO_IMAGE = 2
    MODEL_ERROR = 3
    BUSY = 4
    TIMED_OUT = 5
    INVALID_REQUEST = 6
    CANCELED = 7
    TRUNCATED = 8
    MALFORMED = 9


class Stage(IntEnum):
    """Where a running goal is: `stage` of the action's feedback."""

    WAITING_FOR_IMAGE = 0
    QUEUED = 1
    ASKING = 2


class PositionStatus(IntEnum):
    """Whether a point has a position, and if not, why: `position_status` of `PointedObject`."""

    NOT_REQUESTED = 0
    OK = 1
    NO_DEPTH = 2
    INVALID_DEPTH = 3
    AMBIGUOUS = 4
    OUT_OF_RANGE = 5
    NO_TRANSFORM = 6
    NO_INTERSECTION = 7
    NO_CAMERA_INFO = 8
    NOT_CALIBRATED = 9
    DEPTH_MISMATCH = 10
    NO_VIEWS = 11


STATUS_NUMBERS = {
    Status.FOUND: 0,
    Status.NOT_FOUND: 1,
    Status.TRUNCATED: 2,
    Status.MALFORMED: 3,
    Status.PENDING: 4,
}
"""`status` of `PointArray`."""

CODE_OF_STATUS = {
    Status.FOUND: Code.SUCCEEDED,
    Status.NOT_FOUND: Code.NO_POINTS,
    Status.TRUNCATED: Code.TRUNCATED,
    Status.MALFORMED: Code.MALFORMED,
    Status.PENDING: Code.TIMED_OUT,
}
