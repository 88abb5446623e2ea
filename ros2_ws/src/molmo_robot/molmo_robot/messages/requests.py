"""Goals and service requests to a `Request`, outcomes to results and responses. Duck-typed, like all conversions here."""

from __future__ import annotations

from typing import TypeVar

from molmo_robot.codes import Stage
from molmo_robot.messages.results import Make, empty_array, point_array
from molmo_robot.ros_types import (
    PointFeedbackMessage,
    PointRequestMessage,
    PointResultMessage,
    SetQueryMessage,
)
from molmo_robot.stamps import SECOND_NS, time_ns_of
from molmo_robot.types import Answer, Outcome, Request

Result = TypeVar("Result", bound=PointResultMessage)
Feedback = TypeVar("Feedback", bound=PointFeedbackMessage)


def request_of(message: PointRequestMessage, request_id: str = "") -> Request:
    """Read a goal of `Point.action` or a request of `Point.srv`."""
    timeout_ns = time_ns_of(message.timeout)
    return Request(
        query=str(message.query),
        camera=str(message.camera),
        not_before_ns=time_ns_of(message.not_before),
        # An empty frame in a message means "as the parameter says".
        target_frame=str(message.target_frame) or None,
        compute_position=bool(message.compute_position),
        max_points=int(message.max_points),
        timeout_s=timeout_ns / SECOND_NS if timeout_ns > 0 else None,
        image=getattr(message, "image", None),
        camera_info=getattr(message, "camera_info", None),
        request_id=request_id,
    )


def continuous_request_of(message: SetQueryMessage) -> Request:
    """Read a request of `SetQuery.srv`; the caller reads its `max_rate`."""
    return Request(
        query=str(message.query),
        camera=str(message.camera),
        target_frame=str(message.target_frame) or None,
        compute_position=bool(message.compute_position),
    )


def fill(make: Make, result: Result, outcome: Outcome) -> Result:
    """Write an outcome into a result of `Point.action` or a response of `Point.srv`, and return it."""
    result.code = int(outcome.code)
    result.message = outcome.message
    result.answer = point_array(make, outcome.answer) if outcome.answer else empty_array(make)
    return result


def fill_feedback(
    make: Make, feedback: Feedback, stage: Stage, before: int, partial: Answer | None
) -> Feedback:
    """Write progress into a feedback of `Point.action`, and return it."""
    feedback.stage = int(stage)
    feedback.queue_position = before
    feedback.partial = point_array(make, partial) if partial else empty_array(make)
    return feedback
