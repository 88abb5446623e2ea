"""`Robot`: a session, its continuous query and its topics in one object, for shells that are not an rclpy node.

The DDS bridge drives it live; the bag command feeds it from a recording. Both know it by its methods only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from molmo_point.points import Pointing
from molmo_robot.continuous_pointing import ContinuousPointing, MakeTracker
from molmo_robot.diagnostics import diagnostics
from molmo_robot.messages.results import Make
from molmo_robot.model_call import Asker
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.snapshot import Freezer
from molmo_robot.topics import (
    LIVE_OUTPUTS,
    RECORDED_OUTPUTS,
    Input,
    Output,
    inputs,
    results,
)
from molmo_robot.types import Answer, Request

log = logging.getLogger("molmo_point.robot")

Publish = Callable[[str, Any], None]


def _never(name: str) -> bool:
    return False


class Robot:
    """Everything but the wire.

    Args:
        parameters: By their full names, as in the node's parameter file.
        pointer: Who answers; closed by whoever opened it.
        make: Builds messages.
        make_tracker: Makes what carries points from frame to frame; None publishes the model's answers only.
        clock: Now in nanoseconds, in the time of the stamps.

    Raises:
        ParameterError: A parameter that cannot be used.
    """

    outputs: Sequence[Output] = LIVE_OUTPUTS
    recorded_outputs: Sequence[Output] = RECORDED_OUTPUTS

    def __init__(
        self,
        parameters: Mapping[str, Any],
        pointer: Asker,
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

    @property
    def freezer(self) -> Freezer:
        """What puts a picture together with what belongs to its stamp."""
        return self.session.freezer

    @property
    def frames(self) -> tuple[str, ...]:
        """Frames of the parameters that positions depend on, beside those of the messages."""
        names = (self.settings.target_frame, self.settings.plane_frame)
        return tuple(name.lstrip("/") for name in names if name)

    def reach_back(self, seconds: float) -> None:
        """Keep transforms for so long; before the first one comes."""
        self.session.transforms.reach_back(seconds)

    def inputs(self) -> list[Input]:
        """Return the subscriptions."""
        return inputs(self.session, self._continuous)

    def start(self, publish: Publish, watched: Callable[[str], bool]) -> None:
        """Begin the continuous query of the parameters.

        Args:
            publish: Takes the name of an output and its message; called from the query's threads.
            watched: Whether somebody subscribes to an output.
        """
        self._publish, self._watched = publish, watched
        if self.settings.query:
            self._continuous.set(Request(self.settings.query), self.settings.max_rate_hz)

    def diagnostics(self, node: str) -> Any:
        """Build what goes to /diagnostics."""
        return diagnostics(self._make, self.session, node)

    def close(self) -> None:
        """End the continuous query and withdraw what is under way."""
        self.session.close()
        self._continuous.stop()

    def answer_recorded(
        self,
        camera: str,
        message: Any,
        query: str,
        timeout_s: float,
        known: tuple[Pointing, float] | None = None,
        depth: Any = None,
    ) -> Answer:
        """Answer a query about one recorded picture, with what was recorded around it.

        Args:
            camera: Name of the camera in the parameters.
            message: Its `sensor_msgs/Image` or `CompressedImage`.
            query: What to point to.
            timeout_s: For the model.
            known: What the model said about this picture in an earlier run, and how many seconds it took.
            depth: The depth image whose stamp is nearest, or None for what came by the subscriptions.

        Raises:
            PointError: The picture cannot be read, or the model failed.
        """
        request = Request(query, camera=camera)
        moment = self.freezer.freeze(message, request, self.settings, depth=depth)
        start = time.monotonic()
        pointing = known[0] if known else self.session.ask(moment, request, timeout_s)
        took_s = known[1] if known else time.monotonic() - start
        return self.session.locate(moment, pointing, request, took_s)

    def messages(self, answer: Answer) -> list[tuple[str, Any]]:
        """Build the recorded messages of an answer as (output name, message)."""
        built = results(self._make, answer, self.settings, outputs=RECORDED_OUTPUTS)
        return [(output.name, message) for output, message in built]

    def _answered(self, answer: Answer) -> None:
        for output, message in results(self._make, answer, self.settings, watched=self._watched):
            self._publish(output.name, message)
