"""`Health`: counters and recent problems of a session, for diagnostics only."""

from __future__ import annotations

import re
import threading
import time

from molmo_point.errors import PointError, ServiceError
from molmo_robot.codes import PositionStatus
from molmo_robot.image_groups import GroupAnswer
from molmo_robot.types import Answer

_NUMBER = re.compile(r"\d+")

PROBLEM_S = 30.0
"""Seconds for which a problem is shown after it was last seen."""


class Health:
    """Counts and the latest problems of a session. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._problems: dict[str, tuple[float, str]] = {}
        self.answers = 0
        self.failures = 0
        self.transform_misses = 0
        self.jumps = 0
        self.inference_s = float("nan")
        self.server_problem = ""
        self.model = ""

    def note(self, kind: str, message: str) -> bool:
        """Remember a problem of some kind; return whether it is new, so that it is logged once and not at 30 Hz.

        A sentence that differs from the one before in its numbers only (stamps, seconds) is not new.
        """
        with self._lock:
            known = self._problems.get(kind)
            now = time.monotonic()
            self._problems[kind] = (now, message)
            same = known is not None and _NUMBER.sub("", known[1]) == _NUMBER.sub("", message)
            return known is None or not same or now - known[0] > PROBLEM_S

    def answered(self, answer: Answer | GroupAnswer) -> None:
        """Count an answer."""
        with self._lock:
            self.answers += 1
            self.server_problem = ""
            self.inference_s = answer.inference_s
            self.model = answer.pointing.model
            self.transform_misses += any(
                p.position.status is PositionStatus.NO_TRANSFORM for p in answer.points
            )

    def failed(self, error: PointError) -> None:
        """Count a failure; one of the server stays until an answer comes."""
        with self._lock:
            self.failures += 1
            if isinstance(error, ServiceError):
                self.server_problem = str(error)

    def problems(self) -> dict[str, str]:
        """Return the problems of the last `PROBLEM_S` seconds, by kind."""
        with self._lock:
            since = time.monotonic() - PROBLEM_S
            return {kind: text for kind, (at, text) in self._problems.items() if at >= since}
