"""Answer a query about the images of a recording and write a copy of the recording with the answers in it.

The recording is copied in log order, and an image is answered when it comes by; what belongs to its stamp is fetched ahead of it
(`lookahead`). Answers are stamped as their images are and logged at their images' log time; nothing else changes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from molmo_point.errors import UsageError
from molmo_point.wording import counted
from molmo_robot.bag.lookahead import Index, Lookahead, Shot
from molmo_robot.bag.reader import BagError, Recording
from molmo_robot.bag.resume_log import ResumeLog
from molmo_robot.bag.run import Run
from molmo_robot.bag.task import Selection, Summary, Task
from molmo_robot.bag.writer import BagWriter
from molmo_robot.dds.types import RosTypes
from molmo_robot.robot import Robot
from molmo_robot.ros_types import Message
from molmo_robot.topics import Input
from molmo_robot.types import Answer

__all__ = [
    "CALIBRATIONS",
    "IMAGES",
    "Selection",
    "Summary",
    "Task",
    "annotate",
    "image_type",
    "topic_types",
]

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CALIBRATIONS = ("sensor_msgs/msg/CameraInfo",)
TRANSFORMS = "tf2_msgs/msg/TFMessage"


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


def image_type(path: Path, topic: str, types: RosTypes) -> str:
    """Return the type of a recording's image topic.

    Raises:
        BagError: No such recording or topic, or not a topic of images.
    """
    return topic_types(path, {"--image": (topic, IMAGES)}, types)["--image"]


def annotate(
    task: Task,
    robot: Robot,
    types: RosTypes,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    watch: Callable[[Answer, Mapping[str, Message]], None] = lambda answer, messages: None,
) -> Summary:
    """Answer the chosen images and write the recording with the answers.

    Interrupted (by an error or by a signal), it leaves its resume log and no half-written recording; the same call resumes.

    Args:
        task: What to do.
        robot: What answers.
        types: Message definitions for the results.
        progress: Called with images done and images in all.
        watch: Called with each answer and its messages by output name.

    Raises:
        BagError: The recording lacks a topic or is damaged, or the output is there already.
        UsageError: An empty query, or a resume_log of another task.
        PointError: The model failed.
    """
    if not task.query.strip():
        raise UsageError("--query: expected a few words to look for, got an empty text")
    with Recording(task.recording, types) as recording:
        recording.type_of(task.image, IMAGES, "--image")
        sources = {s.topic: s for s in robot.inputs() if s.topic != task.image}
        index = Index(recording, task.image, sources)
        shots = _chosen(index, recording.start_ns, task)
        writer = BagWriter(task.out, task.storage)
        resume_log = None
        try:
            warnings = _remarks(task, recording, sources, index)
            warnings += [
                f"{name}: its definition is not known" for name in writer.take_over(recording)
            ]
            topics = {s.name: f"{task.prefix}/{s.name}" for s in robot.recorded_outputs}
            for sink in robot.recorded_outputs:
                writer.add_topic(topics[sink.name], sink.type_name, types)
            resume_log = ResumeLog(task.resume_path(), task.fingerprint())
            run = Run(task, robot, resume_log, recording, progress)
            kinds = {s.name: s.type_name for s in robot.recorded_outputs}
            with contextlib.closing(
                Lookahead(recording, index, shots, sources, robot.frames)
            ) as ahead:
                for stamp_ns, answer in run.answers(writer, shots, sources, ahead):
                    messages = dict(robot.messages(answer))
                    watch(answer, messages)
                    for name, message in messages.items():
                        writer.write(topics[name], stamp_ns, types.to_cdr(message, kinds[name]))
            writer.finish()
        except BaseException:
            writer.discard()
            if resume_log is not None:
                resume_log.close()
            raise
    resume_log.remove()
    return run.summary(warnings)


def _chosen(index: Index, start_ns: int, task: Task) -> list[Shot]:
    chosen = task.selection.places([(log_ns - start_ns) / 1e9 for _, log_ns in index.images])
    if not chosen:
        raise BagError(
            f"--image {task.image}: expected images between --start and --end, "
            f"there are {len(index.images)} in the recording and none of them is chosen"
        )
    return [Shot(place, *index.images[place]) for place in chosen]


def _remarks(
    task: Task, recording: Recording, sources: Mapping[str, Input], index: Index
) -> list[str]:
    """Return the warnings about a recording that bear on its positions."""
    remarks = [
        f"{topic}: in the encoding {encoding!r}, which is not ROS 2's: it is not in the output"
        for topic, encoding in sorted(recording.foreign.items())
    ]
    last_s = (index.images[-1][1] - recording.start_ns) / 1e9
    remarks += [
        f"--at {at:g}: the last image is at {last_s:.3f} s"
        for at in task.selection.at_s
        if at > last_s
    ]
    if len(index.image_frames) > 1:
        remarks.append(
            f"{task.image}: its images are of the frames {', '.join(sorted(index.image_frames))}: each is answered as of "
            "its own; a topic should be of one camera"
        )
    if index.damaged:
        remarks.append(
            f"{counted(len(index.damaged), 'message')} could not be read, the first: {index.damaged[0]}"
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
