"""`Robot`: a session, its continuous query and its topics in one object, for programs without rclpy.

The DDS bridge drives it live; the bag command feeds it from a recording. Both use its methods only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from molmo_point.points import Pointing
from molmo_robot.continuous_pointing import ContinuousPointing, MakeTracker
from molmo_robot.diagnostics import diagnostics
from molmo_robot.image_groups import GroupOutcome
from molmo_robot.images_questions import ImagesQuestions
from molmo_robot.messages.image_groups import images_answer
from molmo_robot.messages.results import Make
from molmo_robot.model_call import StreamingPointer, call_model
from molmo_robot.ros_types import AnyImage, Message
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.snapshot import SnapshotBuilder
from molmo_robot.topics import (
    IMAGES_ANSWERS,
    PUBLISHED,
    RECORDED_OUTPUTS,
    Input,
    Output,
    PublishedTopic,
    inputs,
    results,
)
from molmo_robot.types import Answer, Request

log = logging.getLogger("molmo_point.robot")

Publish = Callable[[str, Message], None]


def _never(name: str) -> bool:
    return False


class Robot:
    """A pointing robot without its transport.

    Args:
        parameters: By their full names, as in the node's parameter file.
        pointer: The model; its owner closes it.
        make: Builds messages.
        make_tracker: Makes what carries points from frame to frame; None publishes the model's answers only.
        clock: Now in nanoseconds, in the time of the stamps.

    Raises:
        ParameterError: A parameter that cannot be used.
    """

    outputs: Sequence[PublishedTopic] = PUBLISHED
    recorded_outputs: Sequence[Output] = RECORDED_OUTPUTS

    def __init__(
        self,
        parameters: Mapping[str, object],
        pointer: StreamingPointer,
        make: Make,
        *,
        make_tracker: MakeTracker | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = Settings.of(parameters)
        self._make = make
        self._publish: Publish = lambda name, message: None
        self._watched: Callable[[str], bool] = _never
        self.session = Session(self.settings, pointer, clock=clock)
        self._continuous = ContinuousPointing(
            self.session, self._answered, make_tracker if self.settings.follow else None
        )
        self._images = ImagesQuestions(self.session, self._images_answered)

    @property
    def snapshots(self) -> SnapshotBuilder:
        """Combines an image with the data of its stamp."""
        return self.session.snapshots

    @property
    def frames(self) -> tuple[str, ...]:
        """Frames of the parameters that positions depend on, in addition to those of the messages."""
        names = (self.settings.target_frame, self.settings.plane_frame)
        return tuple(name.lstrip("/") for name in names if name)

    def reach_back(self, seconds: float) -> None:
        """Keep transforms for so long; before the first one comes."""
        self.session.transforms.reach_back(seconds)

    def inputs(self) -> list[Input]:
        """Return the subscriptions."""
        return inputs(self.session, self._continuous, self._images.offer)

    def start(self, publish: Publish, watched: Callable[[str], bool]) -> None:
        """Begin the continuous query of the parameters.

        Args:
            publish: Takes the name of an output and its message; called from the query's threads.
            watched: Whether an output has a subscriber.
        """
        self._publish, self._watched = publish, watched
        if self.settings.query:
            self._continuous.set(Request(self.settings.query), self.settings.max_rate_hz)

    def diagnostics(self, node: str) -> Message:
        """Build what goes to /diagnostics."""
        return diagnostics(self._make, self.session, node)

    def close(self) -> None:
        """End the continuous query and cancel the requests under way."""
        self.session.close()
        self._continuous.stop()

    def answer_recorded(
        self,
        camera: str,
        message: AnyImage,
        query: str,
        timeout_s: float,
        cached: tuple[Pointing, float] | None = None,
        depth: AnyImage | None = None,
    ) -> Answer:
        """Answer a query about one recorded image, with what was recorded around it.

        Args:
            camera: Name of the camera in the parameters.
            message: Its `sensor_msgs/Image` or `CompressedImage`.
            query: What to point to.
            timeout_s: For the model.
            cached: What the model said about this image in an earlier run, and how many seconds it took.
            depth: The depth image whose stamp is nearest, or None for what came by the subscriptions.

        Raises:
            PointError: The image cannot be read, or the model failed.
        """
        request = Request(query, camera=camera)
        snapshot = self.snapshots.capture_message(message, request, self.settings, depth=depth)
        start = time.monotonic()
        pointing = (
            cached[0]
            if cached
            else call_model(self.session.pointer, snapshot, query, timeout_s=timeout_s)
        )
        took_s = cached[1] if cached else time.monotonic() - start
        answer = self.session.answers.build(
            snapshot, pointing, request, self.settings, inference_s=took_s
        )
        self.session.health.answered(answer)
        return answer

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem with messages and positions since the start, each once."""
        return self.session.health.noted

    def messages(self, answer: Answer) -> list[tuple[str, Message]]:
        """Build the recorded messages of an answer as (output name, message)."""
        built = results(self._make, answer, self.settings, outputs=RECORDED_OUTPUTS)
        return [(output.name, message) for output, message in built]

    def _images_answered(self, outcome: GroupOutcome) -> None:
        self._publish(IMAGES_ANSWERS.name, images_answer(self._make, outcome))

    def _answered(self, answer: Answer) -> None:
        for output, message in results(self._make, answer, self.settings, watched=self._watched):
            self._publish(output.name, message)
