"""`Health`: counters and recent problems of a session, for diagnostics only."""

from __future__ import annotations

import logging
import re
import threading
import time

from molmo_point.errors import PointError, ServiceError
from molmo_robot.codes import PositionStatus
from molmo_robot.image_groups import GroupAnswer
from molmo_robot.types import Answer

_NUMBER = re.compile(r"\d+")

log = logging.getLogger("molmo_point.robot")

NOTED = 100
"""Problems remembered at most."""

PROBLEM_S = 30.0
"""Seconds for which a problem is shown after it was last seen."""


class Health:
    """Counts and the latest problems of a session. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._problems: dict[str, tuple[float, str]] = {}
        self._noted: dict[tuple[str, str], tuple[float, str]] = {}
        self.answers = 0
        self.failures = 0
        self.transform_misses = 0
        self.jumps = 0
        self.inference_s = float("nan")
        self.server_problem = ""
        self.model = ""

    def note(self, kind: str, message: str) -> bool:
        """Remember a problem of some kind; return whether it is new, so that it is logged once and not at 30 Hz.

        A sentence that differs from an earlier one in its numbers only (stamps, seconds) is not new.
        """
        key = kind, _NUMBER.sub("", message)
        with self._lock:
            now = time.monotonic()
            self._problems[kind] = (now, message)
            before = self._noted.pop(key, None)
            if before is None and len(self._noted) >= NOTED:
                del self._noted[next(iter(self._noted))]
            self._noted[key] = (now, message if before is None else before[1])
            return before is None or now - before[0] > PROBLEM_S

    @property
    def noted(self) -> tuple[str, ...]:
        """Every problem since the start, each once whatever its numbers are: what a program says that ends."""
        with self._lock:
            return tuple(words for _, words in self._noted.values())

    def answered(self, answer: Answer | GroupAnswer) -> None:
        """Count an answer, and note what is doubtful about its positions."""
        shown = answer.snapshot if isinstance(answer, Answer) else answer.group.snapshots[0]
        for words in answer.doubts:
            if self.note(shown.camera.name, words):
                log.warning("%s", words)
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
