"""`Session`: camera messages in, answers out, without ROS. The node, the DDS bridge and the bag command are built around it.

Feeding methods are called by subscriptions (any thread) and return at once; `point` is called by requests (one thread each) and
blocks until there is an outcome. Bad data raise nothing: a bad message is counted and named in `problems`, a bad request gets
an outcome with a code and a message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from molmo_point.errors import PointError
from molmo_point.points import Pointing
from molmo_robot.answers import AnswerBuilder
from molmo_robot.camera_buffers import CameraBuffer
from molmo_robot.codes import CODE_OF_STATUS, Stage
from molmo_robot.errors import MessageError, QueueFull, RequestError
from molmo_robot.group_capture import capture_group
from molmo_robot.health import Health
from molmo_robot.image_groups import GroupAnswer, GroupOutcome, ImagesRequest
from molmo_robot.model_call import QueueSlot, RequestCounter, Shown, StreamingPointer, call_model
from molmo_robot.positions.locate import PositionEstimator
from molmo_robot.result_codes import code_of, one_line, user_message
from molmo_robot.ros_types import AnyImage, CameraInfoMessage, TFMessage
from molmo_robot.settings import Settings
from molmo_robot.snapshot import SnapshotBuilder
from molmo_robot.transform_buffer import TransformBuffer
from molmo_robot.types import Answer, Outcome, Request

log = logging.getLogger("molmo_point.robot")

Progress = Callable[[Stage, int, "Answer | None"], None]
"""Called with the stage, the number of requests before this one, and the points so far."""


GroupProgress = Callable[[Stage, int, "GroupAnswer | None"], None]
"""The same of a question about several images."""

AnyAnswer = TypeVar("AnyAnswer", Answer, GroupAnswer)
Captured = TypeVar("Captured", bound=Shown)


@dataclass(frozen=True)
class _Steps(Generic[Captured, AnyAnswer]):
    """What differs between a request about one image and one about several.

    Attributes:
        capture: What the model is shown, from the time limit in seconds and from what says that the request has ended.
        partial: An answer of the points so far.
        build: The answer, of the pointing and the seconds that it took.
    """

    capture: Callable[[float, Callable[[], bool]], Captured]
    partial: Callable[[Captured, Pointing], AnyAnswer]
    build: Callable[[Captured, Pointing, float], AnyAnswer]


def _silent(stage: Stage, before: int, partial: object) -> None:
    """Ignore progress."""


class Session:
    """The state of a pointing robot.

    Args:
        settings: The parameters.
        pointer: The model; the session does not close it.
        clock: Now in nanoseconds, in the time of the stamps (simulated time where the robot has it).
    """

    def __init__(
        self,
        settings: Settings,
        pointer: StreamingPointer,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings
        self.pointer = pointer
        self.transforms = TransformBuffer(
            settings.tf_cache_s, (settings.tf_topic, settings.tf_static_topic)
        )
        self.buffers: Mapping[str, CameraBuffer] = {
            name: CameraBuffer(camera, settings.video_frames, settings.video_period_s)
            for name, camera in settings.cameras.items()
        }
        self.snapshots = SnapshotBuilder(self.buffers, self.transforms, clock)
        self.positions = PositionEstimator()
        self.answers = AnswerBuilder(self.snapshots, self.positions)
        self.counter = RequestCounter()
        self.health = Health()
        self.clock = clock
        self._closed = threading.Event()

    def add_transforms(self, message: TFMessage, *, static: bool = False) -> None:
        """Take a `tf2_msgs/TFMessage` in; unusable transforms and publishers that contradict each other are named in `health`."""
        try:
            if self.transforms.add(message, static=static):
                self.health.jumps += 1
                log.warning("the clock of a transform's publisher was set back")
        except MessageError as error:
            self.health.note("transforms", str(error))
        children = {stamped.child_frame_id.lstrip("/") for stamped in message.transforms}
        for words in self.transforms.conflicts(children):
            if self.health.note("transforms", words):
                log.warning("%s", words)

    def add_image(self, camera: str, message: AnyImage) -> None:
        """Take an image of a camera in."""
        buffer = self.buffers[camera]
        jumps = buffer.counts.jumps
        buffer.add_image(message)
        if buffer.counts.jumps > jumps:
            self.positions.clear()
            self.health.jumps += 1
        stray, buffer.stray = buffer.stray, ""
        if stray and self.health.note(camera, stray):
            log.warning("%s", stray)

    def add_info(self, camera: str, message: CameraInfoMessage, *, of_depth: bool = False) -> None:
        """Take a calibration of a camera's images, or of its depth images, in."""
        buffer = self.buffers[camera]
        problem = buffer.add_depth_info(message) if of_depth else buffer.add_info(message)
        if problem and self.health.note(camera, problem):
            log.warning("%s", problem)

    def on_time_jump(self) -> None:
        """The clock was set back (a simulation was reset): forget everything that carries a stamp."""
        for buffer in self.buffers.values():
            buffer.clear()
        self.transforms.clear()
        self.positions.clear()
        self.health.jumps += 1
        log.warning("the clock was set back: images, depth and moving transforms were dropped")

    def close(self) -> None:
        """Cancel every request under way and all later ones."""
        self._closed.set()

    def point(
        self,
        request: Request,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Progress = _silent,
    ) -> Outcome:
        """Answer one request; never raises because of it.

        Args:
            request: What is asked.
            cancelled: Read many times a second; True ends the request, also at the model.
            progress: Called at every stage and with every point as it comes.
        """
        settings, answers = self.settings, self.answers
        steps = _Steps(
            capture=lambda timeout_s, ended: self.snapshots.capture(
                request, settings, timeout_s, ended
            ),
            partial=lambda snapshot, points: answers.partial(snapshot, points, request),
            build=lambda snapshot, pointing, took_s: answers.build(
                snapshot, pointing, request, settings, inference_s=took_s
            ),
        )
        found = self._asked(request, steps, cancelled, progress)
        if isinstance(found, PointError):
            return Outcome(code_of(found), one_line(found))
        pointing = found.pointing
        return Outcome(CODE_OF_STATUS[pointing.status], user_message(pointing), found)

    def point_images(
        self,
        request: ImagesRequest,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        progress: GroupProgress = _silent,
    ) -> GroupOutcome:
        """Answer one request about several images or a video; never raises because of it. Arguments as of `point`."""
        settings, answers = self.settings, self.answers
        steps = _Steps(
            capture=lambda timeout_s, ended: capture_group(
                self.snapshots, request, settings, timeout_s, ended
            ),
            partial=lambda group, points: answers.partial_group(group, points, settings),
            build=lambda group, pointing, took_s: answers.build_group(
                group, pointing, request, settings, inference_s=took_s
            ),
        )
        found = self._asked(request, steps, cancelled, progress)
        if isinstance(found, PointError):
            return GroupOutcome(request, code_of(found), one_line(found))
        pointing = found.pointing
        return GroupOutcome(
            request, CODE_OF_STATUS[pointing.status], user_message(pointing), found
        )

    def _asked(
        self,
        request: Request | ImagesRequest,
        steps: _Steps[Captured, AnyAnswer],
        cancelled: Callable[[], bool],
        progress: Callable[[Stage, int, AnyAnswer | None], None],
    ) -> AnyAnswer | PointError:
        """Return the answer of a request that has found its place in the queue, or why there is none; `health` counts both."""
        try:
            if not request.query.strip():
                raise RequestError("query: expected a few words to look for, got an empty text")
            with self.counter.enter(self.settings.max_queue) as slot:
                found = self._run(
                    request, steps, slot, lambda: self._closed.is_set() or cancelled(), progress
                )
        except (RequestError, QueueFull) as error:
            return error
        except PointError as error:
            self.health.failed(error)
            return error
        self.health.answered(found)
        return found

    def _run(
        self,
        request: Request | ImagesRequest,
        steps: _Steps[Captured, AnyAnswer],
        slot: QueueSlot,
        cancelled: Callable[[], bool],
        progress: Callable[[Stage, int, AnyAnswer | None], None],
    ) -> AnyAnswer:
        """Capture, ask the model, build the answer, all within the request's time limit."""
        start = time.monotonic()
        timeout_s = request.timeout_s or self.settings.request_timeout_s
        progress(Stage.WAITING_FOR_IMAGE, slot.before, None)
        captured = steps.capture(timeout_s, cancelled)
        progress(Stage.QUEUED if slot.before else Stage.ASKING, slot.before, None)
        pointing = call_model(
            self.pointer,
            captured,
            request.query,
            timeout_s=max(0.01, timeout_s - (time.monotonic() - start)),
            cancelled=cancelled,
            on_partial=lambda points: progress(Stage.ASKING, 0, steps.partial(captured, points)),
            slot=slot,
        )
        return steps.build(captured, pointing, time.monotonic() - start)
