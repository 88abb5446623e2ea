"""`ImagesServers`: the action and the service about several images, or the last frames of a camera."""

from __future__ import annotations

from typing import Any

from molmo_robot.image_groups import GroupOutcome, ImagesRequest
from molmo_robot.messages.image_groups import (
    fill_images_feedback,
    images_answer,
    images_request_of,
)
from rclpy.action import ActionServer, CancelResponse

from molmo_point_ros.action_server import (
    INACTIVE,
    RESULT_KEPT_S,
    RequestNode,
    accepted,
    end_goal,
    goal_identity,
)
from molmo_point_ros.rclpy_types import make, message_class


class ImagesServers:
    """Created when the node is configured; requests are refused unless it is active."""

    def __init__(self, node: RequestNode) -> None:
        self._node = node
        self._action_type = message_class("molmo_point_msgs/action/PointImages")
        self._action = ActionServer(
            node,
            self._action_type,
            "~/point_images",
            self._execute,
            callback_group=node.requests_group,
            goal_callback=lambda goal: accepted(node, goal.question.query),
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            result_timeout=RESULT_KEPT_S,
        )
        self._service = node.create_service(
            message_class("molmo_point_msgs/srv/PointImages"),
            "~/query_images",
            self._on_query,
            callback_group=node.requests_group,
        )

    def destroy(self) -> None:
        """Take the action and the service off the graph."""
        self._action.destroy()
        self._node.destroy_service(self._service)

    def _execute(self, handle: Any) -> Any:
        session = self._node.session
        request = images_request_of(handle.request.question, goal_identity(handle))
        outcome = _inactive(request)
        if session is not None:
            outcome = session.point_images(
                request,
                cancelled=lambda: bool(handle.is_cancel_requested),
                progress=lambda stage, before, partial: handle.publish_feedback(
                    fill_images_feedback(
                        make, self._action_type.Feedback(), request, stage, before, partial
                    )
                ),
            )
        result = self._action_type.Result()
        result.answer = images_answer(make, outcome)
        end_goal(handle, outcome.code)
        self._node.publish_images(outcome)
        return result

    def _on_query(self, request: Any, response: Any) -> Any:
        session = self._node.session
        question = images_request_of(request.question)
        outcome = _inactive(question) if session is None else session.point_images(question)
        self._node.publish_images(outcome)
        response.answer = images_answer(make, outcome)
        return response


def _inactive(request: ImagesRequest) -> GroupOutcome:
    return GroupOutcome(request, INACTIVE.code, INACTIVE.message)
