"""Recordings of the scene, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molmo_robot.bag.annotate import annotate
from molmo_robot.bag.reader import Recording
from molmo_robot.dds.types import RosTypes
from molmo_robot.robot import Robot
from robot_scene import SECOND, Scene, find_ball

from molmo_point.testing import FakePointer

TOPICS = {
    "/camera/image": "sensor_msgs/msg/Image",
    "/camera/depth": "sensor_msgs/msg/Image",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/rosout": "std_msgs/msg/String",
}
PARAMETERS = {
    "camera.image_topic": "/camera/image",
    "camera.info_topic": "/camera/camera_info",
    "camera.depth_topic": "/camera/depth",
    "target_frame": "odom",
    "tf_timeout_s": 0.0,
}
RESULTS = (
    "points", "detections", "point", "pose", "poses", "markers", "overlay", "annotations",
)  # fmt: skip


def record(
    types: RosTypes, path: Path, storage: str = "mcap", seconds: float = 1.0, embed: bool = True
) -> Any:
    """Write a drive past the ball: images and depth at 10 Hz, transforms at 100 Hz that are logged 40 ms late."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    scene = Scene(types)
    events = [(scene.start_ns + 1, "/tf_static", scene.tf_static())]
    for i in range(round(seconds * 100)):
        stamp = scene.start_ns + i * SECOND // 100
        events.append((stamp + 40_000_000, "/tf", scene.tf(stamp)))
        if i % 10 == 0:
            events.append((stamp + 5_000_000, "/camera/depth", scene.depth(stamp)))
            events.append((stamp + 5_000_000, "/camera/image", scene.image(stamp)))
            events.append((stamp + 6_000_000, "/camera/camera_info", scene.info()))
            events.append((stamp, "/rosout", types.make("std_msgs/msg/String", data=f"tick {i}")))
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        lines = {
            topic: writer.add_connection(topic, kind, typestore=types.store)
            for topic, kind in TOPICS.items()
        }
        for log_ns, topic, message in sorted(events, key=lambda event: event[0]):
            writer.write(lines[topic], log_ns, types.to_cdr(message, TOPICS[topic]))
    return scene


def answer(
    types: RosTypes, task: Any, pointer: Any = None, parameters: Any = PARAMETERS, **options: Any
) -> Any:
    robot = Robot(parameters, pointer or FakePointer(find_ball), types.make)
    return annotate(task, robot, types, **options)


def contents(types: RosTypes, path: Path) -> Any:
    """{topic: [(log time, bytes)]}"""
    found = {}
    with Recording(path, types) as recording:
        for connection, stamp_ns, data in recording.messages():
            found.setdefault(connection.topic, []).append((stamp_ns, data))
    return found


def decoded(types: RosTypes, path: Path, topic: str) -> list[Any]:
    with Recording(path, types) as recording:
        return [
            (stamp, recording.decode(c, data)) for c, stamp, data in recording.messages([topic])
        ]
