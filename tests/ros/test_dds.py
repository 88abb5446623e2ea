"""A ROS 2 participant from pip alone, over real DDS on loopback: a camera here, the bridge in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molmo_robot.codes import PositionStatus
from molmo_robot.dds.types import RosTypes
from robot_scene import BALL_ODOM, SECOND, Scene
from ros_world import wait_for

from molmo_point.errors import UsageError

pytest.importorskip("cyclonedds", reason='DDS needs: pip install "molmo-point[dds]"')

from molmo_robot.dds.participant import GRAPH_TOPIC, GRAPH_TYPE, Participant
from molmo_robot.qos import Qos

CHILD = Path(__file__).parent / "bridge_child.py"
DOMAIN = 1 + os.getpid() % 230
PARAMETERS = {
    "query": "ball",
    # The scene's clock began at another time than this machine's.
    "max_image_age_s": 0.0,
    "camera.reliability": "reliable",
    "target_frame": "odom",
    "camera.image_topic": "/camera/image",
    "camera.info_topic": "/camera/camera_info",
    "camera.depth_topic": "/camera/depth",
}


class Camera:
    """Publishes a scene and hears the answers."""

    def __init__(self, types: RosTypes) -> None:
        self.participant = Participant("camera", types, domain=DOMAIN)
        self.scene = Scene(types, scale=2)
        self.stamp_ns = self.scene.start_ns
        # Reliable: on a busy machine the kernel drops parts of a best-effort burst of 2 MB.
        sensor = Qos(reliable=True)
        publisher = self.participant.writer
        self.image = publisher("/camera/image", "sensor_msgs/msg/Image", sensor)
        self.depth = publisher("/camera/depth", "sensor_msgs/msg/Image", sensor)
        self.info = publisher(
            "/camera/camera_info", "sensor_msgs/msg/CameraInfo", Qos(latched=False)
        )
        self.tf = publisher("/tf", "tf2_msgs/msg/TFMessage", Qos(depth=100))
        self.tf_static = publisher("/tf_static", "tf2_msgs/msg/TFMessage", Qos(latched=True))
        self.query = publisher("/molmo_point/query_text", "std_msgs/msg/String", Qos(depth=10))
        self.tf_static.publish(self.scene.tf_static())

    def listen(self, topic: str, kind: str, qos: Any = None) -> Any:
        heard = []
        self.participant.reader(topic, kind, qos or Qos(latched=True, depth=10), heard.append)
        return heard

    def show(self) -> None:
        self.stamp_ns += SECOND // 10
        self.info.publish(self.scene.info())
        self.tf.publish(self.scene.tf(self.stamp_ns))
        self.depth.publish(self.scene.depth(self.stamp_ns))
        self.image.publish(self.scene.image(self.stamp_ns))

    def show_until(self, condition: Any, what: Any) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen"
            self.show()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def camera(types: RosTypes) -> Iterator[Any]:
    camera = Camera(types)
    yield camera
    camera.participant.close()


@pytest.fixture(scope="module")
def bridge(camera: Any) -> Iterator[Any]:
    options = {"parameters": PARAMETERS, "domain": DOMAIN, "node": "molmo_point", "quiet": True}
    child = subprocess.Popen(
        [sys.executable, str(CHILD), json.dumps(options)], stdout=subprocess.PIPE
    )
    try:
        wait_for(
            lambda: camera.image.watched() or child.poll() is not None,
            40,
            "the bridge's subscription",
        )
        assert child.poll() is None, "the bridge ended"
        wait_for(camera.query.watched, 20)
        yield child
    finally:
        child.terminate()
        child.communicate(timeout=20)


def test_an_image_goes_in_and_a_position_comes_out(camera: Any, bridge: Any) -> None:
    points = camera.listen("/molmo_point/points", "molmo_point_msgs/msg/PointArray")
    poses = camera.listen(
        "/molmo_point/pose", "geometry_msgs/msg/PoseWithCovarianceStamped", Qos(depth=10)
    )
    located = []

    def found() -> Any:
        located[:] = [
            m for m in points if m.points and m.points[0].position_status == PositionStatus.OK
        ]
        return located and poses

    camera.show_until(found, "an answer with a position")
    message = located[0]
    stamp_ns = message.header.stamp.sec * SECOND + message.header.stamp.nanosec
    assert (stamp_ns - camera.scene.start_ns) % (SECOND // 10) == 0
    assert (message.header.frame_id, message.position_header.frame_id) == (
        "camera_optical",
        "odom",
    )
    where = message.points[0].position
    assert np.linalg.norm(BALL_ODOM - [where.x, where.y, where.z]) < 0.002
    assert poses[0].header.frame_id == "odom"
    assert poses[0].pose.covariance[0] > 0


def test_a_late_subscriber_gets_the_last_answer(camera: Any, bridge: Any) -> None:
    first = camera.listen("/molmo_point/points", "molmo_point_msgs/msg/PointArray")
    camera.show_until(lambda: first, "an answer")
    # Nothing is published from here on: what comes was kept for the latecomer.
    time.sleep(0.3)
    late = camera.listen("/molmo_point/points", "molmo_point_msgs/msg/PointArray")
    wait_for(lambda: late)
    assert late[0].query == "ball"


def test_the_query_changes_by_a_text_topic(camera: Any, bridge: Any, types: RosTypes) -> None:
    heard = camera.listen("/molmo_point/points", "molmo_point_msgs/msg/PointArray")
    camera.query.publish(types.make("std_msgs/msg/String", data="red ball"))
    camera.show_until(lambda: any(m.query == "red ball" for m in heard), "the new query")
    camera.query.publish(types.make("std_msgs/msg/String", data="ball"))


def test_diagnostics_tell_how_it_is_going(camera: Any, bridge: Any) -> None:
    heard = camera.listen("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos(depth=10))
    wait_for(lambda: heard)
    names = {status.name for status in heard[0].status}
    assert "molmo_point: model server" in names
    assert "molmo_point: camera camera" in names


def test_the_overlay_is_published_to_whom_it_may_concern(camera: Any, bridge: Any) -> None:
    heard = camera.listen("/molmo_point/overlay", "sensor_msgs/msg/Image", Qos(reliable=False))
    camera.show_until(lambda: heard, "an overlay")
    assert (heard[0].width, heard[0].height, heard[0].encoding) == (640, 480, "rgb8")


def test_the_graph_shows_a_node_with_its_endpoints_and_type_hashes(
    camera: Any, bridge: Any, types: RosTypes
) -> None:
    """What `ros2 node list`, `node info` and `topic info -v` read."""
    from cyclonedds.builtin import (
        BuiltinDataReader,
        BuiltinTopicDcpsParticipant,
        BuiltinTopicDcpsPublication,
    )

    graph = camera.listen("/", GRAPH_TYPE) if GRAPH_TOPIC.startswith("/") else _graph(camera)
    wait_for(
        lambda: any(n.node_name == "molmo_point" for m in graph for n in m.node_entities_info_seq)
    )
    node = next(
        n
        for m in reversed(graph)
        for n in m.node_entities_info_seq
        if n.node_name == "molmo_point"
    )
    wait_for(lambda: _most_writers(graph) >= 8)
    node = max(_nodes(graph), key=lambda n: len(n.writer_gid_seq) + len(n.reader_gid_seq))
    assert node.node_namespace == "/"
    participant = camera.participant._participant
    endpoints = {
        bytes(p.key.bytes): p
        for p in BuiltinDataReader(participant, BuiltinTopicDcpsPublication).take(N=1000)
    }
    written = {bytes(g.data.astype(np.uint8)) for g in node.writer_gid_seq}
    ours = [p for key, p in endpoints.items() if key in written]
    points = next(p for p in ours if p.topic_name == "rt/molmo_point/points")
    assert points.type_name == "molmo_point_msgs::msg::dds_::PointArray_"
    user_data = _user_data(points.qos)
    assert user_data == f"typehash={types.hash('molmo_point_msgs/msg/PointArray')};".encode()
    people = BuiltinDataReader(participant, BuiltinTopicDcpsParticipant).take(N=100)
    assert {_user_data(p.qos) for p in people} == {b"enclave=/;"}


def _graph(camera: Any) -> Any:
    from cyclonedds.sub import DataReader
    from cyclonedds.topic import Topic

    participant = camera.participant
    wire = participant._wire.of(GRAPH_TYPE)
    topic = Topic(participant._participant, GRAPH_TOPIC, wire)
    qos = participant._qos(Qos(latched=True, depth=10), GRAPH_TYPE)
    reader = DataReader(participant._participant, topic, qos=qos)

    class Seen(list):
        def __iter__(self) -> Any:
            self.extend(s.message for s in reader.take(N=100))
            return super().__iter__()

    return Seen()


def _nodes(graph: Any) -> list[Any]:
    return [n for m in graph for n in m.node_entities_info_seq if n.node_name == "molmo_point"]


def _most_writers(graph: Any) -> Any:
    return max((len(n.writer_gid_seq) for n in _nodes(graph)), default=0)


def _user_data(qos: Any) -> Any:
    from cyclonedds.qos import Policy

    return bytes(next(p.data for p in qos if isinstance(p, Policy.Userdata)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "moon"}, "expected a network out of loopback"),
        ({"node": "my node"}, "expected a node name of letters"),
        ({"namespace": "robot"}, "a namespace from /"),
    ],
)
def test_names_that_cannot_be_are_refused(types: RosTypes, options: Any, words: Any) -> None:
    with pytest.raises(UsageError, match=words):
        Participant(**{"node": "fine", "types": types, "domain": DOMAIN, **options})


def test_topic_names_resolve_as_in_ros(types: RosTypes) -> None:
    class Named:
        node, namespace = "molmo_point", "/robot"
        absolute = Participant.absolute

    names = [Named().absolute(topic) for topic in ("~/points", "image", "/tf")]
    assert names == ["/robot/molmo_point/points", "/robot/image", "/tf"]


def test_a_question_about_several_frames_is_answered_on_its_own_topic(
    camera: Any, bridge: Any, types: RosTypes
) -> None:
    """The bridge's pointer takes one image: one is answered, and a video is refused by the model's words; both have their id."""
    heard = camera.listen("/molmo_point/points_in_images", "molmo_point_msgs/msg/ImagesAnswer", Qos(depth=10))  # fmt: skip
    kind = "molmo_point_msgs/msg/ImagesQuery"
    ask = camera.participant.writer("/molmo_point/images_query", kind, Qos(depth=10))
    wait_for(ask.watched, 20)
    camera.show_until(
        lambda: camera.stamp_ns > camera.scene.start_ns + SECOND, "a second of images"
    )
    nothing = types.make("builtin_interfaces/msg/Time", sec=0, nanosec=0)
    never = types.make("builtin_interfaces/msg/Duration", sec=0, nanosec=0)
    for frames in (0, 3):
        ask.publish(types.make(kind, query="ball", request_id=f"r{frames}", cameras=[], frames=frames, not_before=nothing,
                               target_frame="", compute_position=False, max_points=0, timeout=never))  # fmt: skip
    camera.show_until(lambda: {m.request_id for m in heard} >= {"r0", "r3"}, "both answers")
    by_id = {m.request_id: m for m in heard}
    assert (by_id["r0"].code, len(by_id["r0"].points), len(by_id["r0"].images)) == (0, 1, 1)
    assert by_id["r0"].points[0].pointed.score != by_id["r0"].points[0].pointed.score, (
        "NaN: not known"
    )
    assert (by_id["r3"].code, by_id["r3"].status, len(by_id["r3"].points)) == (6, 4, 0)
    assert "expected" in by_id["r3"].message
