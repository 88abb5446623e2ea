"""`Session`: camera messages in, answers out, without ROS. The node, the DDS bridge and the bag command are shells around it.

Feeding methods are called by subscriptions (any thread) and return at once; `point` is called by requests (one thread each) and
blocks until there is an outcome. Nothing here raises because of bad data: a bad message is counted and named in `problems`, a bad
request gets an outcome with a code and a sentence.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from molmo_point.errors import PointError
from molmo_point.points import Point, Pointing, Status
from molmo_robot.camera_buffers import CameraFeed
from molmo_robot.codes import CODE_OF_STATUS, Stage
from molmo_robot.errors import MessageError, RequestError, RobotError
from molmo_robot.health import Health
from molmo_robot.image_rotation import turned, turned_back
from molmo_robot.model_call import Asker, Line, ask
from molmo_robot.positions.locate import Locator
from molmo_robot.result_codes import code_of, first, remark, sentence
from molmo_robot.settings import Settings
from molmo_robot.snapshot import Freezer
from molmo_robot.transform_buffer import TransformBuffer
from molmo_robot.types import Answer, Moment, Outcome, Request

log = logging.getLogger("molmo_point.robot")

Progress = Callable[[Stage, int, "Answer | None"], None]
"""Called with the stage, the number of requests before this one, and the points so far."""


def _silent(stage: Stage, before: int, partial: Answer | None) -> None:
    """Nobody watches."""


def _never() -> bool:
    return False


def _nothing() -> None:
    """No place in the line to give back."""


class Session:
    """Everything a pointing robot keeps between messages.

    Args:
        settings: The parameters.
        pointer: Who answers; the session does not close it.
        clock: Now in nanoseconds, in the time of the stamps (simulated time where the robot has it).
    """

    def __init__(
        self, settings: Settings, pointer: Asker, *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.settings = settings
        self.pointer = pointer
        self.transforms = TransformBuffer(
            settings.tf_cache_s, (settings.tf_topic, settings.tf_static_topic)
        )
        self.feeds: Mapping[str, CameraFeed] = {
            name: CameraFeed(camera) for name, camera in settings.cameras.items()
        }
        self.freezer = Freezer(self.feeds, self.transforms, clock)
        self.locator = Locator()
        self.line = Line()
        self.health = Health()
        self.clock = clock
        self._closed = threading.Event()

    def add_transforms(self, message: Any, *, static: bool = False) -> None:
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

    def add_image(self, camera: str, message: Any) -> None:
        """Take a picture of a camera in."""
        feed = self.feeds[camera]
        jumps = feed.counts.jumps
        feed.add_image(message)
        if feed.counts.jumps > jumps:
            self.locator.clear()
            self.health.jumps += 1
        stray, feed.stray = feed.stray, ""
        if stray and self.health.note(camera, stray):
            log.warning("%s", stray)

    def jump(self) -> None:
        """The clock was set back (a simulation was reset): forget everything that carries a stamp."""
        for feed in self.feeds.values():
            feed.clear()
        self.transforms.clear()
        self.locator.clear()
        self.health.jumps += 1
        log.warning("the clock was set back: pictures, depth and moving transforms were dropped")

    def close(self) -> None:
        """Withdraw every request under way; requests after this are cancelled at once."""
        self._closed.set()

    def point(
        self,
        request: Request,
        *,
        cancelled: Callable[[], bool] = _never,
        progress: Progress = _silent,
    ) -> Outcome:
        """Answer one request; never raises because of it.

        Args:
            request: What is asked.
            cancelled: Looked at many times a second; True ends the request, also at the model.
            progress: Told of every stage and of every point as it comes.
        """
        settings = self.settings
        timeout_s = request.timeout_s or settings.request_timeout_s

        def gone() -> bool:
            return self._closed.is_set() or cancelled()

        try:
            if not request.query.strip():
                raise RequestError("query: expected a few words to look for, got an empty text")
            before = self.line.enter(settings.max_queue)
        except RobotError as error:
            return Outcome(error.code, str(error))
        held = Place(self.line)
        try:
            return self._answer(request, timeout_s, before, held, gone, progress)
        except PointError as error:
            self.health.failed(error)
            return Outcome(code_of(error), sentence(error))
        finally:
            held.leave_unless_asked()

    def _answer(
        self,
        request: Request,
        timeout_s: float,
        before: int,
        held: Place,
        gone: Callable[[], bool],
        progress: Progress,
    ) -> Outcome:
        start = time.monotonic()
        progress(Stage.WAITING_FOR_IMAGE, before, None)
        moment = self.freezer.choose(request, self.settings, timeout_s, gone)
        progress(Stage.QUEUED if before else Stage.ASKING, before, None)
        pointing = self.ask(
            moment,
            request,
            max(0.01, timeout_s - (time.monotonic() - start)),
            held=held,
            gone=gone,
            progress=progress,
        )
        answer = self.locate(moment, pointing, request, time.monotonic() - start)
        self.health.answered(answer)
        return Outcome(CODE_OF_STATUS[pointing.status], remark(pointing), answer)

    def ask(
        self,
        moment: Moment,
        request: Request,
        timeout_s: float,
        *,
        held: Place | None = None,
        gone: Callable[[], bool] = _never,
        progress: Progress = _silent,
    ) -> Pointing:
        """Ask the model about a frozen instant; points are in norm of the picture as published.

        Raises:
            PointError: What the model or its server raised, or the end of the request's time.
        """
        degrees = moment.camera.rotation
        so_far: list[Point] = []

        def on_point(point: Point) -> None:
            so_far.append(point)
            partial = Pointing(
                query=request.query,
                points=tuple(so_far),
                status=Status.TRUNCATED,
                image_size=(image.shape[1], image.shape[0]),
            )
            partial = turned_back(partial, degrees, moment.image_size)
            progress(Stage.ASKING, 0, _unplaced(self.locator, moment, partial, request))

        image = turned(moment.image, degrees)
        pointing = ask(
            self.pointer,
            image,
            request.query,
            timeout_s=timeout_s,
            cancelled=gone,
            on_point=on_point,
            done=held.hand_over() if held else _nothing,
            stamp_ns=moment.stamp_ns,
            frame_id=moment.frame_id,
        )
        return turned_back(pointing, degrees, moment.image_size)

    def locate(
        self,
        moment: Moment,
        pointing: Pointing,
        request: Request,
        inference_s: float = 0.0,
        *,
        evidence_stamp_ns: int | None = None,
        track_ids: tuple[int, ...] = (),
    ) -> Answer:
        """Give the points of an answer their pixels and, where asked for, their positions.

        Args:
            moment: The instant whose header the answer carries.
            pointing: In norm of its picture as published.
            request: What was asked.
            inference_s: How long the model took.
            evidence_stamp_ns: Stamp of the picture the model saw, where that is an older one.
            track_ids: Identities of the points, where something follows them.
        """
        evidence_ns = moment.stamp_ns if evidence_stamp_ns is None else evidence_stamp_ns
        if not track_ids:
            pointing = first(pointing, request.max_points)
        if not request.compute_position:
            answer = _unplaced(self.locator, moment, pointing, request, track_ids)
            return dataclasses.replace(
                answer, inference_s=inference_s, evidence_stamp_ns=evidence_ns
            )
        moment = self.freezer.complete(moment, self.settings)
        return Answer(
            moment=moment,
            pointing=pointing,
            points=self.locator.place(moment, pointing, self.settings, track_ids),
            position_frame=moment.target_frame,
            evidence_stamp_ns=evidence_ns,
            request_id=request.request_id,
            inference_s=inference_s,
        )


class Place:
    """A place in the line: given back when the request ends, or, once asked, when the model is done."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._asked = False

    def hand_over(self) -> Callable[[], None]:
        """Let the thread that asks the model give the place back."""
        self._asked = True
        return self._line.leave

    def leave_unless_asked(self) -> None:
        """Give the place back, unless it was handed over."""
        if not self._asked:
            self._line.leave()


def _unplaced(
    locator: Locator,
    moment: Moment,
    pointing: Pointing,
    request: Request,
    track_ids: tuple[int, ...] = (),
) -> Answer:
    return Answer(
        moment=moment,
        pointing=pointing,
        points=locator.in_picture(moment, pointing, track_ids),
        position_frame="",
        evidence_stamp_ns=moment.stamp_ns,
        request_id=request.request_id,
    )
