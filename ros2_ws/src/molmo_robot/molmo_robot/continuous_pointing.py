"""`ContinuousPointing`: the model answers as fast as it can; a tracker carries its points to every frame.

One thread reads the newest image message, tracks and publishes; the asking thread belongs to `molmo_point.tracking.continuous`. A
message that comes while the first thread is busy replaces the one that waits.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from molmo_point.errors import MissingExtra, PointError
from molmo_point.points import Pointing, Status
from molmo_point.tracking.continuous import CameraFrame, ContinuousQuery, TrackedPoints
from molmo_point.tracking.newest_item import NewestItem
from molmo_robot.frame_order import FrameOrder
from molmo_robot.model_call import call_model
from molmo_robot.result_codes import one_line
from molmo_robot.ros_types import AnyImage
from molmo_robot.session import Session
from molmo_robot.stamps import SECOND_NS
from molmo_robot.types import Answer, Request, Snapshot

if TYPE_CHECKING:
    from molmo_point.tracking.tracker import Tracker

log = logging.getLogger("molmo_point.robot")

RETRY_S = (1.0, 1.0)
"""Pause after a failure: a server that restarts is found again soon, one that is gone is not flooded."""

JOIN_S = 2.0

STILL_S = 0.5
"""No newer frame for this long after an answer: the answer itself is published, nothing will carry its points."""

MakeTracker = Callable[[], "Tracker"]


def tracker_factory() -> MakeTracker | None:
    """Return what makes trackers, or None where OpenCV (the extra "tracking") is not installed."""
    try:
        from molmo_point.tracking.tracker import Tracker
    except MissingExtra as error:
        log.warning("points are not tracked between answers: %s", error)
        return None
    return Tracker


class ContinuousPointing:
    """At most one continuous query for each session; setting a new one ends the one before.

    Args:
        session: Camera buffers, model, positions.
        publish: Called with each answer, on a thread of the query.
        make_tracker: Makes what carries points from frame to frame; None publishes the model's answers only.
    """

    def __init__(
        self,
        session: Session,
        publish: Callable[[Answer], None],
        make_tracker: MakeTracker | None = None,
    ) -> None:
        self._session = session
        self._publish = publish
        self._make_tracker = make_tracker
        self._run: _Run | None = None
        self._wanted: tuple[Request, float] | None = None
        self._enabled = True
        self._lock = threading.Lock()

    @property
    def request(self) -> Request | None:
        """What is being asked, or None."""
        run = self._run
        return None if run is None else run.request

    def set(self, request: Request | None, max_rate_hz: float = 0.0) -> None:
        """Start asking `request` of its camera; None or an empty query stops.

        Raises:
            RequestError: Unknown camera.
        """
        if request is not None and request.query.strip():
            request = dataclasses.replace(
                request, camera=self._session.snapshots.buffer(request.camera).settings.name
            )
        else:
            request = None
        with self._lock:
            self._wanted = None if request is None else (request, max_rate_hz)
            self._restart()

    def enable(self, on: bool) -> None:
        """Pause (False) and resume (True); a query set meanwhile starts when it is resumed."""
        with self._lock:
            if on != self._enabled:
                self._enabled = on
                self._restart()

    def offer(self, camera: str, message: AnyImage) -> None:
        """Hand in an image message of a camera; returns at once."""
        run = self._run
        if run is not None and run.request.camera == camera:
            run.offer(message)

    def stop(self) -> None:
        """End the continuous query and its threads."""
        self.set(None)

    def _restart(self) -> None:
        if self._run is not None:
            self._run.stop()
        self._run = None
        if self._wanted is not None and self._enabled:
            tracker = self._make_tracker() if self._make_tracker else None
            self._run = _Run(self._session, *self._wanted, self._publish, tracker)


class _Run:
    """One continuous query from its start to its end."""

    def __init__(
        self,
        session: Session,
        request: Request,
        max_rate_hz: float,
        publish: Callable[[Answer], None],
        tracker: Tracker | None,
    ) -> None:
        self.request = request
        self._session = session
        self._publish = publish
        self._tracking = tracker is not None
        self._in_pixels = dataclasses.replace(request, compute_position=False)
        self._order = FrameOrder(session.buffers[request.camera].settings.image_topic)
        self._newest: NewestItem[AnyImage] = NewestItem()
        self._asked: tuple[Snapshot, float] | None = None
        self._answered: Pointing | None = None
        self._told = False
        self._shown = False
        self._query: ContinuousQuery[Snapshot] = ContinuousQuery(
            self._ask,
            [request.query],
            tracker=tracker,
            on_answer=self._on_answer,
            on_failure=self._on_failure,
            every_s=1.0 / max_rate_hz if max_rate_hz > 0 else 0.0,
            retry_s=RETRY_S,
            # Another server, or the same with another model, may take the query.
            fatal=(),
            # A point that is not recognized keeps its last place: on a moving camera that is another object, with another depth.
            doubtful=False,
            name="molmo-point continuous query",
        )
        self._thread = threading.Thread(target=self._read, name="molmo-point track", daemon=True)
        self._query.start()
        self._thread.start()

    def offer(self, message: AnyImage) -> None:
        self._newest.put(message)

    def stop(self) -> None:
        self._query.stop(JOIN_S)
        self._newest.close()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)

    def _read(self) -> None:
        while not self._query.stopping:
            message = self._newest.take(1.0)
            if message is None:
                continue
            try:
                self._add(message)
            except Exception as error:
                self._on_failure(error)

    def _add(self, message: AnyImage) -> None:
        """Track into one image and publish what is new about it."""
        key_ns = self._order.key(message)
        if self._order.problem:
            self._note(self._order.problem)
        if key_ns is None:
            return
        session = self._session
        snapshot = session.snapshots.capture_message(message, self._in_pixels, session.settings)
        frame = CameraFrame(snapshot.image, key_ns / SECOND_NS, snapshot, snapshot.stamp_ns)
        for tracked in self._query.add_frame(frame):
            if not self._query.stopping:
                self._publish_tracked(snapshot, tracked)

    def _publish_tracked(self, snapshot: Snapshot, tracked: TrackedPoints) -> None:
        """Publish the points in a frame; that nothing is known, once before the first answer and once after points were lost."""
        pointing, last = tracked.pointing, self._answered
        if pointing.status is Status.FOUND:
            if last is not None:
                pointing = pointing.replace(calibrated=last.calibrated, text=last.text)
            self._shown = True
            stamps = [
                t.evidence_stamp_ns for t in tracked.tracks if t.evidence_stamp_ns is not None
            ]
            self._publish(
                self._session.answers.build(
                    snapshot,
                    pointing.replace(frame_id=snapshot.frame_id),
                    self.request,
                    self._session.settings,
                    evidence_stamp_ns=min(stamps),
                    track_ids=tuple(track.id for track in tracked.tracks),
                )
            )
        elif pointing.status is Status.NOT_FOUND:
            # The answer that says so is published when it comes.
            self._shown = False
        elif not tracked.in_doubt and (self._shown or not self._told):
            if self._shown:
                self._note("every tracked point is lost until the model finds it again")
            self._shown, self._told = False, True
            pointing = pointing.replace(frame_id=snapshot.frame_id)
            self._publish(self._session.answers.partial(snapshot, pointing, self._in_pixels))

    def _ask(self, frame: CameraFrame[Snapshot]) -> Iterator[Pointing]:
        session, request, snapshot = self._session, self.request, frame.data
        if request.compute_position:
            snapshot = session.snapshots.complete(snapshot, session.settings)
        start = time.monotonic()
        timeout_s = request.timeout_s or session.settings.request_timeout_s
        pointing = call_model(
            session.pointer,
            snapshot,
            request.query,
            timeout_s=timeout_s,
            cancelled=lambda: self._query.stopping,
        )
        self._asked = snapshot, time.monotonic() - start
        yield pointing

    def _on_answer(
        self, frame: CameraFrame[Snapshot], pointing: Pointing, not_tracked: str
    ) -> None:
        self._told, self._answered = True, pointing
        self._shown |= bool(pointing.points) and self._tracking and not not_tracked
        if self._query.stopping or self._asked is None:
            return
        snapshot, took_s = self._asked
        if not_tracked:
            self._note(f"{snapshot.camera.image_topic}: {not_tracked}")
        session = self._session
        answer = session.answers.build(
            snapshot, pointing, self.request, session.settings, inference_s=took_s
        )
        session.health.answered(answer)
        # Tracked points are published frame by frame; every other answer is published itself.
        if (
            not self._tracking
            or not_tracked
            or pointing.status is not Status.FOUND
            or not self._query.wait_newer(frame, STILL_S)
        ):
            self._publish(answer)

    def _on_failure(self, error: Exception) -> None:
        """Note a failure and log it once; the query continues."""
        if self._query.stopping:
            return
        if isinstance(error, PointError):
            self._session.health.failed(error)
            self._note(one_line(error))
        else:
            self._session.health.note("continuous query", f"{type(error).__name__}: {error}")
            log.error("continuous query %r failed", self.request.query, exc_info=error)

    def _note(self, words: str) -> None:
        """Name a problem on /diagnostics, and once in the log."""
        if self._session.health.note("continuous query", words):
            log.warning("continuous query %r: %s", self.request.query, words)
