"""Answer a query about the pictures of a recording and write the recording anew with the answers in it.

The recording is copied in log order, and a picture is answered when it comes by; what belongs to its stamp is fetched ahead of it
(`bag_lookahead`). Answers are stamped as their pictures are and logged at their pictures' log time; nothing else changes.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from molmo_point.errors import UsageError
from molmo_point.points import Pointing, Status
from molmo_point.service.bag_journal import Journal, Known
from molmo_point.service.bag_lookahead import (
    Index,
    Lookahead,
    RecordedSource,
    Shot,
    check_type,
)
from molmo_point.service.bag_reading import BagError, Recording
from molmo_point.service.bag_writing import Copy
from molmo_point.service.dds.bridge import Sink
from molmo_point.service.dds.types import RosTypes

PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CALIBRATIONS = ("sensor_msgs/msg/CameraInfo",)
TRANSFORMS = "tf2_msgs/msg/TFMessage"
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

    @property
    def frames(self) -> Sequence[str]: ...

    def inputs(self) -> Sequence[RecordedSource]:
        """Return the topics it wants to hear."""

    def reach_back(self, seconds: float) -> None:
        """Keep transforms for so long."""

    def answer_recorded(
        self,
        camera: str,
        message: Any,
        query: str,
        timeout_s: float,
        known: Known | None = None,
        depth: Any = None,
    ) -> Any:
        """Answer about one picture; `known` is the model's answer of an earlier run, `depth` the depth image nearest in time."""

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
    """What a run did.

    Attributes:
        pictures: Answered, or failed.
        resumed: Of them known from an earlier run.
        points: Found in all of them.
        failures: Pictures without a whole answer, and why.
        warnings: What else a person should know.
        placed: Points with a position in metres.
        unplaced: Why the others have none: how many, the status, and the first reason as an example.
    """

    pictures: int
    resumed: int
    points: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    placed: int = 0
    unplaced: tuple[str, ...] = ()


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


def topic_types(
    path: Path, wanted: Mapping[str, tuple[str, Sequence[str]]], types: RosTypes
) -> dict[str, str]:
    """Return the types of topics that a recording has to have, by option.

    Args:
        path: The recording.
        wanted: {option: (topic, expected types)}.
        types: Message definitions.

    Raises:
        BagError: No such recording or topic, or a topic of another type.
    """
    with Recording(path, types) as recording:
        return {
            option: recording.type_of(topic, expected, option)
            for option, (topic, expected) in wanted.items()
        }


def picture_type(path: Path, topic: str, types: RosTypes) -> str:
    """Return the type of a recording's picture topic.

    Raises:
        BagError: No such recording or topic, or not a topic of pictures.
    """
    return topic_types(path, {"--image": (topic, PICTURES)}, types)["--image"]


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
        sources = {s.topic: s for s in robot.inputs() if s.topic != task.image}
        index = Index(recording, task.image, sources)
        shots = _chosen(index, recording.start_ns, task)
        copy = Copy(task.out, task.storage)
        journal = None
        try:
            warnings = _remarks(task, recording, sources, index)
            warnings += [
                f"{name}: its definition is not known" for name in copy.take_over(recording)
            ]
            topics = {s.name: f"{task.prefix}/{s.name}" for s in robot.recorded_outputs}
            for sink in robot.recorded_outputs:
                copy.add_topic(topics[sink.name], sink.type_name, types)
            journal = Journal(task.journal_path(), task.fingerprint())
            run = _Run(task, robot, journal, recording, progress)
            kinds = {s.name: s.type_name for s in robot.recorded_outputs}
            with contextlib.closing(
                Lookahead(recording, index, shots, sources, robot.frames)
            ) as ahead:
                for stamp_ns, answer in run.answers(copy, shots, sources, ahead):
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


def _chosen(index: Index, start_ns: int, task: Task) -> list[Shot]:
    chosen = task.selection.places([(log_ns - start_ns) / 1e9 for _, log_ns in index.pictures])
    if not chosen:
        raise BagError(
            f"--image {task.image}: expected pictures between --start and --end, "
            f"there are {len(index.pictures)} in the recording and none of them is chosen"
        )
    return [Shot(place, *index.pictures[place]) for place in chosen]


def _remarks(
    task: Task, recording: Recording, sources: Mapping[str, RecordedSource], index: Index
) -> list[str]:
    """What a person should know about a recording before reading its positions."""
    remarks = [
        f"{topic}: in the encoding {encoding!r}, which is not ROS 2's: it is not in the output"
        for topic, encoding in sorted(recording.foreign.items())
    ]
    last_s = (index.pictures[-1][1] - recording.start_ns) / 1e9
    remarks += [
        f"--at {at:g}: the last picture is at {last_s:.3f} s"
        for at in task.selection.at_s
        if at > last_s
    ]
    if index.damaged:
        remarks.append(
            f"{len(index.damaged)} messages could not be read, the first: {index.damaged[0]}"
        )
    wanted = [t for t, s in sources.items() if s.role in ("moving", "fixed")]
    present = {c.topic for c in recording.connections}
    others = sorted(
        c.topic for c in recording.connections if c.msgtype == TRANSFORMS and c.topic not in wanted
    )
    if others and not present & {*wanted}:
        remarks.append(
            f"there are no transforms on {' or '.join(wanted)}, but on {', '.join(others)}: "
            "--tf-namespace says below which name they are"
        )
    return remarks


class _Run:
    """Plays a recording to a robot."""

    def __init__(
        self,
        task: Task,
        robot: RecordedRobot,
        journal: Journal,
        recording: Recording,
        progress: Callable[[int, int], None],
    ) -> None:
        self._task, self._robot, self._journal = task, robot, journal
        self._recording = recording
        self._progress = progress
        self._done = self._resumed = self._points = self._placed = 0
        self._failures: list[str] = []
        self._unplaced: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}

    def answers(
        self,
        copy: Copy,
        shots: Sequence[Shot],
        sources: Mapping[str, RecordedSource],
        ahead: Lookahead,
    ) -> Iterator[tuple[int, Any]]:
        """Copy every message, and yield (log time, answer) of each chosen picture in between."""
        self._robot.reach_back(ahead.cache_s)
        self._prepare(sources)
        chosen = {shot.place for shot in shots}
        place = -1
        for connection, stamp_ns, data in self._recording.messages():
            copy.copy(connection, stamp_ns, data)
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
                self._hand_over(source, connection, data)

    def summary(self, warnings: list[str]) -> Summary:
        return Summary(
            self._done,
            self._resumed,
            self._points,
            tuple(self._failures),
            tuple(warnings),
            self._placed,
            tuple(
                f"{count} points without a position, {name}: {self._reasons[name]}"
                for name, count in self._unplaced.most_common()
            ),
        )

    def _prepare(self, sources: Mapping[str, RecordedSource]) -> None:
        """Hand over what holds for the whole recording and may come late in it: fixed transforms, calibration."""
        fixed = [t for t, s in sources.items() if s.role == "fixed"]
        for connection, _, data in self._recording.messages(fixed):
            # The index has named what cannot be decoded.
            with contextlib.suppress(BagError):
                self._hand_over(sources[connection.topic], connection, data)
        seen: set[str] = set()
        infos = [t for t, s in sources.items() if s.role == "info"]
        for connection, _, data in self._recording.messages(infos):
            if connection.topic not in seen:
                seen.add(connection.topic)
                self._hand_over(sources[connection.topic], connection, data)
            if len(seen) == len(infos):
                break

    def _hand_over(self, source: RecordedSource, connection: Any, data: bytes) -> None:
        check_type(connection, source)
        source.receive(self._recording.decode(connection, data))

    def _answer(self, place: int, connection: Any, data: bytes, ahead: Lookahead) -> Any:
        """The answer about one picture, or None where it cannot be read."""
        known = self._journal.get(place)
        start = time.monotonic()
        try:
            message = self._recording.decode(connection, data)
            depth = ahead.depth(place)
            answer = self._robot.answer_recorded(
                CAMERA, message, self._task.query, self._task.timeout_s, known, depth
            )
        except UsageError as error:
            # One picture that cannot be read costs that picture, and is told; a model that fails ends the run.
            self._failures.append(f"picture {place}: {error}")
            return None
        if known is None:
            self._journal.add(place, answer.pointing, time.monotonic() - start)
        self._resumed += known is not None
        self._count(place, answer)
        return answer

    def _count(self, place: int, answer: Any) -> None:
        status = answer.pointing.status
        if status not in (Status.FOUND, Status.NOT_FOUND):
            self._failures.append(f"picture {place}: the answer is {status}, not a whole one")
        self._points += answer.pointing.count
        for placed in answer.points:
            position = placed.position
            if position.status.name == "OK":
                self._placed += 1
            else:
                self._unplaced[position.status.name] += 1
                self._reasons.setdefault(position.status.name, position.message)
