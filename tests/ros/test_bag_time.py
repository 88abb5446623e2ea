"""What belongs to an image is found in a recording however late, early, often or rarely it was logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from molmo_robot.bag.annotate import Task, annotate
from molmo_robot.bag.lookahead import frame_of, stamp_of
from molmo_robot.dds.types import RosTypes
from molmo_robot.robot import Robot
from recordings import PARAMETERS
from robot_scene import SECOND, Scene, find_ball

from molmo_point.testing import FakePointer

KINDS = {
    "/camera/image": "sensor_msgs/msg/Image",
    "/camera/depth": "sensor_msgs/msg/Image",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
}


def write(types: RosTypes, path: Path, events: Any, storage: str = "mcap") -> Any:
    """Write (log time, topic, message) events; a message may be bytes."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        lines = {t: writer.add_connection(t, k, typestore=types.store) for t, k in KINDS.items()}
        for log_ns, topic, message in sorted(events, key=lambda event: event[0]):
            raw = isinstance(message, bytes)
            data = message if raw else types.to_cdr(message, KINDS[topic])
            writer.write(lines[topic], log_ns, data)
    return path


def drive(
    types: RosTypes, *, seconds: float = 1.0, depth_hz: int = 10, tf_hz: int = 50, lag: Any = None
) -> Any:
    """Images at 10 Hz, depth and transforms at their rates; each topic is logged its lag (in s) late."""
    scene, lag = Scene(types, speed=(0.0, 0.2, 0.0)), {"/camera/image": 0.005, **(lag or {})}
    events = [(scene.start_ns - 1, "/tf_static", scene.tf_static())]

    def add(topic: str, stamp: int, message: Any) -> None:
        events.append((stamp + round(lag.get(topic, 0.005) * SECOND), topic, message))

    add("/camera/camera_info", scene.start_ns, scene.info())
    for i in range(round(seconds * 10)):
        add(
            "/camera/image",
            scene.start_ns + i * SECOND // 10,
            scene.image(scene.start_ns + i * SECOND // 10),
        )
    for i in range(round(seconds * depth_hz)):
        stamp = scene.start_ns + i * SECOND // depth_hz
        add("/camera/depth", stamp, scene.depth(stamp))
    # One before the first image, one behind the last.
    for i in range(-1, round(seconds * tf_hz) + 2):
        stamp = scene.start_ns + round(i * SECOND / tf_hz)
        add("/tf", stamp, scene.tf(stamp))
    return events


def statuses(types: RosTypes, path: Path, out: Any, **parameters: Any) -> Any:
    robot = Robot({**PARAMETERS, **parameters}, FakePointer(find_ball), types.make)
    found = []
    summary = annotate(
        Task(path, out, "/camera/image", "ball"),
        robot,
        types,
        watch=lambda answer, _: found.append(answer.points[0].position),
    )
    return summary, [p.status.name for p in found], found


@pytest.mark.parametrize(
    "habit",
    [
        {},
        {"depth_hz": 120},
        {"tf_hz": 1},
        {"tf_hz": 0.5},
        {"lag": {"/camera/depth": 0.7}},
        {"lag": {"/camera/image": 2.0}},
        {"lag": {"/tf": 0.6}},
        {"lag": {"/tf": 3.0, "/camera/depth": 1.5, "/camera/image": 0.5}},
        {"lag": {"/camera/camera_info": 1.5}},
        {"tf_hz": 1, "lag": {"/camera/image": 5.0}},
    ],
    ids=str,
)
def test_every_image_gets_its_position(types: RosTypes, tmp_path: Path, habit: str) -> None:
    storage = "sqlite3" if len(habit) == 2 else "mcap"
    path = write(types, tmp_path / "in", drive(types, **habit), storage)
    summary, got, _ = statuses(types, path, tmp_path / "out.mcap")
    assert got == ["OK"] * 10
    assert (summary.placed, summary.unplaced) == (10, ())


def test_transforms_forty_seconds_late_are_waited_for(types: RosTypes, tmp_path: Path) -> None:
    """Longer than the node's own cache."""
    events = drive(types, lag={"/tf": 40.0})
    _, got, _ = statuses(types, write(types, tmp_path / "in", events), tmp_path / "out.mcap")
    assert got == ["OK"] * 10


def test_what_is_missing_is_counted_with_its_reason(types: RosTypes, tmp_path: Path) -> None:
    events = [e for e in drive(types) if e[1] != "/camera/depth"]
    scene = Scene(types)
    stamp = scene.start_ns + 33_000_000
    events.append((stamp, "/camera/depth", scene.depth(stamp)))
    path = write(types, tmp_path / "in", events)
    summary, got, found = statuses(types, path, tmp_path / "out.mcap")
    assert got == ["NO_DEPTH"] * 10
    assert "the nearest is 0.033 s later" in found[0].message
    assert summary.placed == 0
    assert len(summary.unplaced) == 1
    assert summary.unplaced[0].startswith("10 points without a position, NO_DEPTH: /camera/depth:")


def test_a_damaged_transform_costs_itself_and_is_told(types: RosTypes, tmp_path: Path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(tmp_path / "in", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        lines = {t: writer.add_connection(t, k, typestore=types.store) for t, k in KINDS.items()}
        for i, (log_ns, topic, message) in enumerate(sorted(drive(types), key=lambda e: e[0])):
            writer.write(lines[topic], log_ns, types.to_cdr(message, KINDS[topic]))
            if i == 30:
                writer.write(lines["/tf"], log_ns, b"\0\1\0\0\xff\xff\xff\x7f")
    summary, got, _ = statuses(types, tmp_path / "in", tmp_path / "out.mcap")
    assert got == ["OK"] * 10
    assert "1 message could not be read, the first: " in summary.warnings[0]


def test_stamp_and_frame_are_read_from_the_bytes(types: RosTypes) -> None:
    scene = Scene(types)
    for message, kind in (
        (scene.image(123 * SECOND + 7), KINDS["/camera/image"]),
        (scene.info(), KINDS["/camera/camera_info"]),
    ):
        data = types.to_cdr(message, kind)
        stamp = message.header.stamp
        assert stamp_of(data) == stamp.sec * SECOND + stamp.nanosec
        assert frame_of(data) == "camera_optical"
        big = bytes(types.store.serialize_cdr(message, kind, little_endian=False))
        assert (stamp_of(big), frame_of(big)) == (stamp_of(data), "camera_optical")
    assert (stamp_of(b"\0\1"), frame_of(b"\0\1")) == (0, "")
