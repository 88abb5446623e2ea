"""`ImagesQuestions`: questions about several images that come on a topic, for transports without actions and services."""

from __future__ import annotations

import threading
from collections.abc import Callable

from molmo_robot.image_groups import GroupOutcome
from molmo_robot.messages.image_groups import images_request_of
from molmo_robot.ros_types import ImagesQueryMessage
from molmo_robot.session import Session


class ImagesQuestions:
    """Answers each question on a thread of its own; more than `max_queue` at a time are answered BUSY.

    Args:
        session: The robot.
        publish: Takes every outcome, also of questions that could not be answered; called from those threads.
    """

    def __init__(self, session: Session, publish: Callable[[GroupOutcome], None]) -> None:
        self._session = session
        self._publish = publish

    def offer(self, message: ImagesQueryMessage) -> None:
        """Take a `molmo_point_msgs/ImagesQuery`; returns at once."""
        request = images_request_of(message)
        threading.Thread(
            target=lambda: self._publish(self._session.point_images(request)),
            name="molmo-point images",
            daemon=True,
        ).start()
