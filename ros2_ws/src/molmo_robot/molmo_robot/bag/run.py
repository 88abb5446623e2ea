"""`Run`: feeds a recording to a robot, image by image, and counts the results."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from molmo_point.errors import UsageError
from molmo_point.points import Status
from molmo_point.wording import counted
from molmo_robot.bag.lookahead import Lookahead, Shot, check_type
from molmo_robot.bag.reader import BagError, Recording
from molmo_robot.bag.resume_log import ResumeLog
from molmo_robot.bag.task import Summary, Task
from molmo_robot.bag.writer import BagWriter
from molmo_robot.robot import Robot
from molmo_robot.topics import Input
from molmo_robot.types import Answer

CAMERA = "camera"


class Run:
    """Feeds a recording to a robot."""

    def __init__(
        self,
        task: Task,
        robot: Robot,
        resume_log: ResumeLog,
        recording: Recording,
        progress: Callable[[int, int], None],
    ) -> None:
        self._task, self._robot, self._resume_log = task, robot, resume_log
        self._recording = recording
        self._progress = progress
        self._done = self._resumed = self._points = self._placed = 0
        self._failures: list[str] = []
        self._unread: list[str] = []
        self._unplaced: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}

    def answers(
        self,
        writer: BagWriter,
        shots: Sequence[Shot],
        sources: Mapping[str, Input],
        ahead: Lookahead,
    ) -> Iterator[tuple[int, Answer]]:
        """Copy every message, and yield (log time, answer) of each chosen image in between."""
        self._robot.reach_back(ahead.cache_s)
        self._prepare(sources)
        chosen = {shot.place for shot in shots}
        place = -1
        for connection, stamp_ns, data in self._recording.messages():
            writer.copy(connection, stamp_ns, data)
            source = sources.get(connection.topic)
            if connection.topic == self._task.image:
                place += 1
                if place in chosen:
                    ahead.until(place)
                    answer = self._answer(place, connection, data, ahead)
                    if answer is not None:
                        yield stamp_ns, answer
                    self._done += 1
                    self._progress(self._done, len(chosen))
            elif source is not None and source.role == "info":
                try:
                    self._hand_over(source, connection, data)
                except BagError as error:
                    self._unread.append(str(error))

    def summary(self, warnings: list[str]) -> Summary:
        # What cannot be read at all has been counted.
        warnings = [*warnings, *self._robot.problems]
        if self._unread:
            warnings = [
                *warnings,
                f"{counted(len(self._unread), 'calibration')} could not be read, the first: {self._unread[0]}",
            ]
        return Summary(
            self._done,
            self._resumed,
            self._points,
            tuple(self._failures),
            tuple(warnings),
            self._placed,
            tuple(
                f"{counted(count, 'point')} without a position, {name}: {self._reasons[name]}"
                for name, count in self._unplaced.most_common()
            ),
        )

    def _prepare(self, sources: Mapping[str, Input]) -> None:
        """Hand over the fixed transforms and the calibration, which hold for the whole recording and may come late in it."""
        fixed = [t for t, s in sources.items() if s.role == "fixed"]
        for connection, _, data in self._recording.messages(fixed):
            # The index has named what cannot be decoded.
            with contextlib.suppress(BagError):
                self._hand_over(sources[connection.topic], connection, data)
        seen: set[str] = set()
        infos = [t for t, s in sources.items() if s.role == "info"]
        for connection in self._recording.connections:
            if connection.topic in infos:
                check_type(connection, sources[connection.topic])
        for connection, _, data in self._recording.messages(infos):
            if connection.topic not in seen:
                # One that cannot be decoded is named where it is passed.
                with contextlib.suppress(BagError):
                    self._hand_over(sources[connection.topic], connection, data)
                    seen.add(connection.topic)
            if len(seen) == len(infos):
                break

    def _hand_over(self, source: Input, connection: Any, data: bytes) -> None:
        source.receive(self._recording.decode(connection, data))

    def _answer(self, place: int, connection: Any, data: bytes, ahead: Lookahead) -> Answer | None:
        """Return the answer about one image, or None where it cannot be read."""
        cached = self._resume_log.get(place)
        start = time.monotonic()
        try:
            message = self._recording.decode(connection, data)
            depth = ahead.depth(place)
            answer = self._robot.answer_recorded(
                CAMERA, message, self._task.query, self._task.timeout_s, cached, depth
            )
        except UsageError as error:
            # An unreadable image is reported and skipped; a failure of the model ends the run.
            self._failures.append(f"image {place}: {error}")
            return None
        if cached is None and answer.pointing.status is not Status.TRUNCATED:
            # A truncated answer is asked for again: there may be more time then.
            self._resume_log.add(place, answer.pointing, time.monotonic() - start)
        self._resumed += cached is not None
        self._count(place, answer)
        return answer

    def _count(self, place: int, answer: Answer) -> None:
        status = answer.pointing.status
        if status not in (Status.FOUND, Status.NOT_FOUND):
            self._failures.append(f"image {place}: the answer is {status}, not a whole one")
        self._points += answer.pointing.count
        for placed in answer.points:
            position = placed.position
            if position.status.name == "OK":
                self._placed += 1
            else:
                self._unplaced[position.status.name] += 1
                self._reasons.setdefault(position.status.name, position.message)
