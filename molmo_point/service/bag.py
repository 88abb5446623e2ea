"""Answer a query about the pictures of a recording and write the recording anew with the answers in it.

Messages go to the robot in log order; a picture is answered `SETTLE_NS` later, when the depth and the transforms that belong to
its stamp have gone by. Answers are stamped as their pictures are and logged at their pictures' log time; nothing else changes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from molmo_point.errors import UsageError
from molmo_point.points import Pointing
from molmo_point.service.bag_journal import Journal, Known
from molmo_point.service.bag_reading import BagError, Recording
from molmo_point.service.bag_writing import Copy
from molmo_point.service.dds.bridge import Sink, Source
from molmo_point.service.dds.types import RosTypes

SETTLE_NS = 500_000_000
"""Longer than transforms and depth lag behind pictures on real robots (0.1 s is usual), far shorter than the buffers."""

PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA = "camera"


class RecordedAnswer(Protocol):
    """What a robot answers about a picture."""

    @property
    def pointing(self) -> Pointing: ...
    @property
    def inference_s(self) -> float: ...


class RecordedRobot(Protocol):
    """What answers; `molmo_point_ros.robot.Robot` is the one."""

    @property
    def recorded_outputs(self) -> Sequence[Sink]: ...

    def inputs(self) -> Sequence[Source]:
        """Return the topics it wants to hear."""

    def answer_recorded(
        self, camera: str, message: Any, query: str, timeout_s: float, known: Known | None = None
    ) -> Any:
        """Answer about one picture; `known` is the model's answer of an earlier run."""

    def messages(self, answer: Any) -> list[tuple[str, Any]]:
        """Return an answer's messages as (output name, message)."""


@dataclass(frozen=True)
class Selection:
    """Which pictures are answered.

    Attributes:
        every: Every nth picture.
        start_s: Seconds after the recording's begin.
        end_s: Seconds after the recording's begin; None for its end.
        at_s: Instead of every nth: the first picture at or after each of these seconds.
    """

    every: int = 1
    start_s: float = 0.0
    end_s: float | None = None
    at_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"--every: expected at least 1, got {self.every}")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise UsageError(f"--end must be after --start, got {self.start_s} to {self.end_s}")

    def places(self, seconds: Sequence[float]) -> list[int]:
        """Return the indices of the chosen pictures, given the log time of each in seconds after the begin."""
        if self.at_s:
            first = (next((i for i, s in enumerate(seconds) if s >= at), None) for at in self.at_s)
            return sorted({i for i in first if i is not None})
        end = float("inf") if self.end_s is None else self.end_s
        inside = [i for i, s in enumerate(seconds) if self.start_s <= s <= end]
        return inside[:: self.every]


@dataclass(frozen=True)
class Summary:
    """What a run did: pictures answered, of them from an earlier run, points found, pictures without an answer and why."""

    pictures: int
    resumed: int
    points: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One run.

    Attributes:
        recording: The input.
        out: `NAME.mcap`, or a folder.
        image: Topic of the pictures.
        query: What to point to.
        selection: Which pictures.
        prefix: Result topics are `prefix/points` and so on.
        storage: Of a folder.
        timeout_s: For each answer.
        identity: What else has to be the same to go on with an interrupted run (model, parameters).
    """

    recording: Path
    out: Path
    image: str
    query: str
    selection: Selection = Selection()
    prefix: str = "/molmo_point"
    storage: str = "mcap"
    timeout_s: float = 600.0
    identity: str = ""

    def journal_path(self) -> Path:
        """Where the answers are kept until the run is complete."""
        return self.out.with_name(self.out.name + ".answers.jsonl")

    def fingerprint(self) -> dict[str, Any]:
        """What an interrupted run must have in common with this one."""
        files = sorted(self.recording.glob("*")) if self.recording.is_dir() else [self.recording]
        size = sum(f.stat().st_size for f in files if f.is_file())
        return {
            "recording": str(self.recording.resolve()),
            "bytes": size,
            "image": self.image,
            "query": self.query,
            "identity": self.identity,
        }


def picture_type(path: Path, topic: str, types: RosTypes) -> str:
    """Return the type of a recording's picture topic.

    Raises:
        BagError: No such recording or topic, or not a topic of pictures.
    """
    with Recording(path, types) as recording:
        return recording.type_of(topic, PICTURES, "--image")


def annotate(
    task: Task,
    robot: RecordedRobot,
    types: RosTypes,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    watch: Callable[[Any, Mapping[str, Any]], None] = lambda answer, messages: None,
) -> Summary:
    """Answer the chosen pictures and write the recording with the answers.

    Interrupted (by an error or by hand), it leaves no half-written recording, only its journal: the same call again goes on.

    Args:
        task: What to do.
        robot: What answers.
        types: Message definitions for the results.
        progress: Called with pictures done and pictures in all.
        watch: Called with each answer and its messages by output name.

    Raises:
        BagError: The recording lacks a topic or is damaged, or the output is there already.
        UsageError: An empty query, or a journal of another task.
        PointError: The model failed.
    """
    if not task.query.strip():
        raise UsageError("--query: expected a few words to look for, got an empty text")
    with Recording(task.recording, types) as recording:
        recording.type_of(task.image, PICTURES, "--image")
        chosen = _chosen(recording, task)
        copy = Copy(task.out, task.storage)
        journal = None
        try:
            warnings = [
                f"{name}: its definition is not known" for name in copy.take_over(recording)
            ]
            topics = {s.name: f"{task.prefix}/{s.name}" for s in robot.recorded_outputs}
            for sink in robot.recorded_outputs:
                copy.add_topic(topics[sink.name], sink.type_name, types)
            journal = Journal(task.journal_path(), task.fingerprint())
            run = _Run(task, robot, journal, recording, chosen, progress)
            kinds = {s.name: s.type_name for s in robot.recorded_outputs}
            for stamp_ns, answer in run.answers(copy):
                messages = dict(robot.messages(answer))
                watch(answer, messages)
                for name, message in messages.items():
                    copy.write(topics[name], stamp_ns, types.to_cdr(message, kinds[name]))
            copy.finish()
        except BaseException:
            copy.discard()
            if journal is not None:
                journal.close()
            raise
    journal.remove()
    return run.summary(warnings)


def _chosen(recording: Recording, task: Task) -> list[int]:
    seconds = [
        (stamp_ns - recording.start_ns) / 1e9
        for _, stamp_ns, _ in recording.messages([task.image])
    ]
    chosen = task.selection.places(seconds)
    if not chosen:
        raise BagError(
            f"--image {task.image}: expected pictures between --start and --end, "
            f"there are {len(seconds)} in the recording and none of them is chosen"
        )
    return chosen


class _Run:
    """Plays a recording to a robot."""

    def __init__(
        self,
        task: Task,
        robot: RecordedRobot,
        journal: Journal,
        recording: Recording,
        chosen: list[int],
        progress: Callable[[int, int], None],
    ) -> None:
        self._task, self._robot, self._journal = task, robot, journal
        self._recording, self._chosen = recording, set(chosen)
        self._progress = progress
        self._done = self._resumed = self._points = 0
        self._failures: list[str] = []
        self._handlers = {
            source.topic: source for source in robot.inputs() if source.topic != task.image
        }

    def answers(self, copy: Copy) -> Iterator[tuple[int, Any]]:
        """Copy every message, and yield (log time, answer) of each chosen picture in between."""
        self._prepare()
        waiting: deque[tuple[int, int, Any, bytes]] = deque()
        place = -1
        for connection, stamp_ns, data in self._recording.messages():
            while waiting and waiting[0][1] + SETTLE_NS < stamp_ns:
                yield from self._answer(*waiting.popleft())
            copy.copy(connection, stamp_ns, data)
            if connection.topic == self._task.image:
                place += 1
                if place in self._chosen:
                    waiting.append((place, stamp_ns, connection, data))
            elif connection.topic in self._handlers:
                self._hand_over(connection, data)
        while waiting:
            yield from self._answer(*waiting.popleft())

    def summary(self, warnings: list[str]) -> Summary:
        return Summary(
            self._done, self._resumed, self._points, tuple(self._failures), tuple(warnings)
        )

    def _prepare(self) -> None:
        """Hand over what holds for the whole recording and may come late in it: fixed transforms, calibration."""
        for connection, _, data in self._recording.messages(["/tf_static"]):
            self._hand_over(connection, data)
        seen: set[str] = set()
        infos = [t for t, s in self._handlers.items() if s.type_name.endswith("/CameraInfo")]
        for connection, _, data in self._recording.messages(infos):
            if connection.topic not in seen:
                seen.add(connection.topic)
                self._hand_over(connection, data)
            if len(seen) == len(infos):
                break

    def _hand_over(self, connection: Any, data: bytes) -> None:
        source = self._handlers.get(connection.topic)
        if source is None:
            return
        if connection.msgtype != source.type_name:
            raise BagError(
                f"{connection.topic}: expected {source.type_name}, found {connection.msgtype}"
            )
        source.receive(self._recording.decode(connection, data))

    def _answer(
        self, place: int, stamp_ns: int, connection: Any, data: bytes
    ) -> Iterator[tuple[int, Any]]:
        known = self._journal.get(place)
        start = time.monotonic()
        try:
            message = self._recording.decode(connection, data)
            answer = self._robot.answer_recorded(
                CAMERA, message, self._task.query, self._task.timeout_s, known
            )
        except UsageError as error:
            # One picture that cannot be read costs that picture, and is told; a model that fails ends the run.
            self._failures.append(f"picture {place}: {error}")
            answer = None
        if answer is not None:
            if known is None:
                self._journal.add(place, answer.pointing, time.monotonic() - start)
            self._resumed += known is not None
            self._points += answer.pointing.count
            yield stamp_ns, answer
        self._done += 1
        self._progress(self._done, len(self._chosen))
