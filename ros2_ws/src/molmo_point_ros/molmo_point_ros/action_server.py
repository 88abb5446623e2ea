"""`PointServers`: the action and the services of the node."""

from __future__ import annotations

from typing import Any, Protocol

from molmo_robot.codes import Code
from molmo_robot.continuous_pointing import ContinuousPointing
from molmo_robot.image_groups import GroupOutcome
from molmo_robot.messages.requests import continuous_request_of, fill, fill_feedback, request_of
from molmo_robot.ros_types import PointRequestMessage, PointResultMessage, SetQueryMessage
from molmo_robot.session import Session
from molmo_robot.types import Answer, Outcome
from rclpy.action import ActionServer, CancelResponse, GoalResponse

from molmo_point.errors import PointError
from molmo_point_ros.rclpy_types import make, message_class

DONE = (Code.SUCCEEDED, Code.NO_POINTS, Code.TRUNCATED)
"""Outcomes with an answer to act on: the goal succeeds. With every other code it is aborted, and `message` says why."""

RESULT_KEPT_S = 30
"""How long the result of a goal that has ended can be asked for. rclpy keeps every goal with its image for so long: its
default of 15 minutes holds 5 GB of a client that sends images of 640x480 along at 6 Hz."""

INACTIVE = Outcome(Code.CANCELED, "the node is not active: activate it first")


class RequestNode(Protocol):
    """What the servers of requests need of their node: rclpy's methods, and what it does with an answer.

    Attributes:
        session: Answers requests; None while the node is not active.
        continuous: The continuous query; None while the node is not active.
        requests_group: The callback group in which requests run side by side.
    """

    session: Session | None
    continuous: ContinuousPointing | None
    requests_group: Any

    def publish(self, answer: Answer) -> None:
        """Publish an answer about one image."""

    def publish_images(self, outcome: GroupOutcome) -> None:
        """Publish how a question about several images ended."""

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, **options: Any) -> Any:
        """As rclpy's node."""

    def destroy_service(self, service: Any) -> bool:
        """As rclpy's node."""

    def get_logger(self) -> Any:
        """As rclpy's node."""


def goal_identity(handle: Any) -> str:
    """Return the id of a goal as hexadecimal digits."""
    return bytes(bytearray(handle.goal_id.uuid)).hex()


def accepted(node: RequestNode, query: str) -> GoalResponse:
    """Accept a goal while the node is active."""
    if node.session is None:
        node.get_logger().warning(f"goal {query!r} rejected: {INACTIVE.message}")
        return GoalResponse.REJECT
    return GoalResponse.ACCEPT


def end_goal(handle: Any, code: Code) -> None:
    """Tell rclpy how a goal ended."""
    if code is Code.CANCELED and handle.is_cancel_requested:
        handle.canceled()
    elif code in DONE:
        handle.succeed()
    else:
        handle.abort()


class PointServers:
    """Created when the node is configured; requests are refused unless it is active."""

    def __init__(self, node: RequestNode) -> None:
        self._node = node
        self._action_type = message_class("molmo_point_msgs/action/Point")
        group = node.requests_group
        self._action = ActionServer(
            node,
            self._action_type,
            "~/point",
            self._execute,
            callback_group=group,
            goal_callback=lambda goal: accepted(node, goal.query),
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            result_timeout=RESULT_KEPT_S,
        )
        self._services = [
            node.create_service(message_class(kind), name, answer, callback_group=group)
            for name, kind, answer in (
                ("~/query", "molmo_point_msgs/srv/Point", self._on_query),
                ("~/set_query", "molmo_point_msgs/srv/SetQuery", self._on_set_query),
                ("~/enable", "std_srvs/srv/SetBool", self._on_enable),
            )
        ]

    def destroy(self) -> None:
        """Take the action and the services off the graph."""
        self._action.destroy()
        for service in self._services:
            self._node.destroy_service(service)

    def _execute(self, handle: Any) -> PointResultMessage:
        session = self._node.session
        outcome = INACTIVE
        if session is not None:
            outcome = session.point(
                request_of(handle.request, goal_identity(handle)),
                cancelled=lambda: bool(handle.is_cancel_requested),
                progress=lambda stage, before, partial: handle.publish_feedback(
                    fill_feedback(make, self._action_type.Feedback(), stage, before, partial)
                ),
            )
        result = fill(make, self._action_type.Result(), outcome)
        end_goal(handle, outcome.code)
        self._publish(outcome)
        return result

    def _on_query(
        self, request: PointRequestMessage, response: PointResultMessage
    ) -> PointResultMessage:
        session = self._node.session
        outcome = INACTIVE if session is None else session.point(request_of(request))
        self._publish(outcome)
        return fill(make, response, outcome)

    def _on_set_query(self, request: SetQueryMessage, response: Any) -> Any:
        continuous = self._node.continuous
        response.accepted = continuous is not None
        response.message = INACTIVE.message
        if continuous is not None:
            try:
                continuous.set(continuous_request_of(request), float(request.max_rate))
                now = continuous.request
                response.message = (
                    f"pointing to {now.query!r} on {now.camera}" if now else "stopped"
                )
            except PointError as error:
                response.accepted, response.message = False, str(error)
        return response

    def _on_enable(self, request: Any, response: Any) -> Any:
        continuous = self._node.continuous
        response.success = continuous is not None
        response.message = INACTIVE.message
        if continuous is not None:
            continuous.enable(bool(request.data))
            response.message = "enabled" if request.data else "paused"
        return response

    def _publish(self, outcome: Outcome) -> None:
        if outcome.answer is not None:
            self._node.publish(outcome.answer)
