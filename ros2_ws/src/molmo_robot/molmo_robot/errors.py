"""What can go wrong between a camera topic and a point, as errors, each with an outcome code.

RobotError (PointError)
├── ParameterError       a node parameter that cannot be used; also a UsageError
├── MessageError         a message that is not what its topic promises; names topic, expected and found
├── RequestError         the request itself is wrong: empty query, unknown camera
├── NoImage              no image, or none new enough
├── QueueFull            too many requests are under way
├── DeadlinePassed       the request's time ended before the first point
└── RequestCancelled     cancelled by the client, or the node was deactivated
"""

from __future__ import annotations

from typing import ClassVar

from molmo_point.errors import PointError, UsageError
from molmo_robot.codes import Code


class RobotError(PointError):
    """Base of the errors of this package."""

    code: ClassVar[Code] = Code.MODEL_ERROR


class ParameterError(RobotError, UsageError):
    """A parameter of the wrong type, outside its range, or against another parameter."""

    code = Code.INVALID_REQUEST


class MessageError(RobotError, UsageError):
    """A message that cannot be read: unknown encoding, wrong size, truncated data."""

    code = Code.INVALID_REQUEST


class RequestError(RobotError, UsageError):
    """A request that cannot be served, whatever the cameras show."""

    code = Code.INVALID_REQUEST


class NoImage(RobotError):
    """No image has come, or none that is new enough."""

    code = Code.NO_IMAGE


class QueueFull(RobotError):
    """`max_queue` requests are under way."""

    code = Code.BUSY


class DeadlinePassed(RobotError, TimeoutError):
    """The request's time ended before the model answered."""

    code = Code.TIMED_OUT


class RequestCancelled(RobotError):
    """The client cancelled, or the node went inactive."""

    code = Code.CANCELED
