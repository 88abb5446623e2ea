"""`StandingQuery`: continuous pointing. The model answers as fast as it can; a tracker carries its points to every frame.

Two threads: one asks the model about the newest frame, one follows the points from frame to frame and publishes. A frame that
comes while the follower is busy takes the place of the one that waits: the newest is the one that counts.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from molmo_point.errors import PointError
from molmo_point.points import Status
from molmo_robot.frame_order import FrameOrder
from molmo_robot.result_codes import sentence
from molmo_robot.session import Session
from molmo_robot.tracked import Follower, Tracked, pending
from molmo_robot.types import Answer, Moment, Request

__all__ = ["Follower", "StandingQuery", "Tracked"]

log = logging.getLogger("molmo_point.robot")

RETRY_S = 1.0
"""Pause after a failure: a server that restarts is found again soon, one that is gone is not hammered."""

JOIN_S = 2.0

STILL_S = 0.5
"""No frame for so long after an answer: it is published as it is, and does not wait for one to carry its points."""


class StandingQuery:
    """At most one standing query for each session; setting a new one ends the one before.

    Args:
        session: Feeds, model, positions.
        publish: Called with each answer, on a thread of the query.
        follower: Makes a fresh follower; None publishes the model's answers only.
    """

    def __init__(
        self,
        session: Session,
        publish: Callable[[Answer], None],
        follower: Callable[[], Follower] | None = None,
    ) -> None:
        self._session = session
        self._publish = publish
        self._follower = follower
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
                request, camera=self._session.freezer.feed(request.camera).settings.name
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

    def offer(self, camera: str, message: Any) -> None:
        """Hand in a picture of a camera; returns at once."""
        run = self._run
        if run is not None and run.request.camera == camera:
            run.offer(message)

    def stop(self) -> None:
        """End the standing query and its threads."""
        self.set(None)

    def _restart(self) -> None:
        if self._run is not None:
            self._run.stop()
        self._run = None
        if self._wanted is not None and self._enabled:
            request, max_rate_hz = self._wanted
            follower = self._follower() if self._follower else None
            self._run = _Run(self._session, request, max_rate_hz, self._publish, follower)


class _Run:
    """One standing query from its start to its end."""

    def __init__(
        self,
        session: Session,
        request: Request,
        max_rate_hz: float,
        publish: Callable[[Answer], None],
        follower: Follower | None,
    ) -> None:
        self.request = request
        self._session = session
        self._publish = publish
        self._follower = follower
        self._period_s = 1.0 / max_rate_hz if max_rate_hz > 0 else 0.0
        self._look = dataclasses.replace(request, compute_position=False)
        self._stopped = threading.Event()
        self._news = threading.Condition()
        self._waiting: Any = None
        self._newest: tuple[int, Moment] | None = None
        self._order = FrameOrder(session.feeds[request.camera].settings.image_topic)
        self._told = False
        self._threads = [
            threading.Thread(target=work, name=f"molmo-point {name}", daemon=True)
            for name, work in (("follow", self._follow), ("ask", self._ask))
        ]
        for thread in self._threads:
            thread.start()

    def offer(self, message: Any) -> None:
        with self._news:
            self._waiting = message
            self._news.notify_all()

    def stop(self) -> None:
        self._stopped.set()
        with self._news:
            self._news.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(JOIN_S)

    def _follow(self) -> None:
        while not self._stopped.is_set():
            with self._news:
                self._news.wait_for(lambda: self._waiting is not None, timeout=0.1)
                message, self._waiting = self._waiting, None
            if message is not None:
                self._guard(lambda message=message: self._step(message))  # type: ignore[misc]

    def _step(self, message: Any) -> None:
        session = self._session
        key = self._order.key(message)
        if self._order.remark:
            self._note(self._order.remark)
        if key is None:
            return
        moment = session.freezer.freeze(message, self._look, session.settings)
        tracked = None
        if self._follower is not None:
            tracked = self._follower.frame(key, moment.image)
        with self._news:
            self._newest = key, moment
            self._news.notify_all()
        if tracked is None and self._follower is not None and not self._told:
            tracked = Tracked(pending(self.request.query, moment), (), key)
        if tracked is not None and not self._stopped.is_set():
            if not tracked.pointing.points and self._told:
                self._note("every point that was followed is lost until the model finds it again")
            self._told = True
            self._publish(
                session.locate(
                    moment,
                    tracked.pointing,
                    self.request if tracked.pointing.points else self._look,
                    evidence_stamp_ns=self._order.stamp_ns(tracked.evidence_stamp_ns),
                    track_ids=tracked.track_ids,
                )
            )

    def _ask(self) -> None:
        asked: int | None = None
        while not self._stopped.is_set():
            with self._news:
                if not self._is_news(asked):
                    self._news.wait(0.1)
                newest = self._newest if self._is_news(asked) else None
            if newest is None:
                continue
            asked = newest[0]
            start = time.monotonic()
            fine = self._guard(lambda newest=newest: self._expecting(*newest))  # type: ignore[misc]
            pause_s = max(0.0 if fine else RETRY_S, self._period_s - (time.monotonic() - start))
            self._stopped.wait(pause_s)

    def _is_news(self, asked: int | None) -> bool:
        return self._newest is not None and self._newest[0] != asked

    def _expecting(self, key: int, moment: Moment) -> None:
        """Ask about a frame, which the follower keeps however long the model takes."""
        if self._follower is None:
            return self._question(key, moment)
        self._follower.expect(key)
        try:
            self._question(key, moment)
        finally:
            self._follower.release(key)

    def _question(self, key: int, moment: Moment) -> None:
        session, request = self._session, self.request
        if request.compute_position:
            moment = session.freezer.complete(moment, session.settings)
        start = time.monotonic()
        timeout_s = request.timeout_s or session.settings.request_timeout_s
        pointing = session.ask(moment, request, timeout_s, gone=self._stopped.is_set)
        took_s = time.monotonic() - start
        why_not = None
        if self._follower is not None:
            self._told = True
            why_not = self._follower.answer(key, pointing)
        if self._stopped.is_set():
            return
        if why_not:
            self._note(f"{moment.camera.image_topic}: {why_not}")
        answer = session.locate(moment, pointing, request, took_s)
        session.health.answered(answer)
        # What was found is published frame by frame by the follower; what it cannot follow, and "nothing there", is news that
        # only the answer has.
        if (
            self._follower is None
            or why_not
            or pointing.status is not Status.FOUND
            or self._stands_still(key)
        ):
            self._publish(answer)

    def _stands_still(self, key: int) -> bool:
        """Whether no frame comes for some time that could carry the answer's points."""

        def moved() -> bool:
            return self._stopped.is_set() or self._newest is None or self._newest[0] != key

        with self._news:
            return not self._news.wait_for(moved, timeout=STILL_S)

    def _note(self, words: str) -> None:
        """Name a problem on /diagnostics, and once in the log."""
        if self._session.health.note("standing query", words):
            log.warning("standing query %r: %s", self.request.query, words)

    def _guard(self, work: Callable[[], None]) -> bool:
        """Run one step; a failure is noted, logged once and does not end the query."""
        try:
            work()
            return True
        except PointError as error:
            if self._stopped.is_set():
                return False
            self._session.health.failed(error)
            self._note(sentence(error))
        except Exception as error:
            self._session.health.note("standing query", f"{type(error).__name__}: {error}")
            log.exception("standing query %r failed", self.request.query)
        return False
