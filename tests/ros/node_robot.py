"""`Robot`: a node under test, a camera that publishes to it, and a client that asks it."""

from __future__ import annotations

from typing import Any

from robot_scene import SECOND, Scene, find_ball
from ros_world import result, wait_for

from molmo_point.testing import FakePointer

CAMERA = {
    "camera.image_topic": "/camera/image",
    "camera.info_topic": "/camera/camera_info",
    "camera.depth_topic": "/camera/depth",
    "target_frame": "odom",
    "max_image_age_s": 0.0,
}


class Camera:
    """Publishes a scene from a node: images, depth, calibration and transforms."""

    def __init__(self, helper: Any) -> None:
        import molmo_point_ros.rclpy_types as rclpy_types

        self.helper = helper
        self.scene = Scene(rclpy_types)
        self.stamp_ns = self.scene.start_ns

    def publisher(self, kind: str, topic: str, latched: bool = False) -> Any:
        from molmo_point_ros.node import profile
        from molmo_point_ros.rclpy_types import message_class
        from molmo_robot.qos import Qos

        qos = profile(Qos(reliable=True, latched=latched, depth=100))
        return self.helper.create_publisher(message_class(kind), topic, qos)

    def show(self) -> Any:
        """Publish one image with everything that belongs to it; returns its stamp."""
        if not hasattr(self, "_tf"):
            self._image = self.publisher("sensor_msgs/msg/Image", "/camera/image")
            self._depth = self.publisher("sensor_msgs/msg/Image", "/camera/depth")
            self._info = self.publisher("sensor_msgs/msg/CameraInfo", "/camera/camera_info")
            self._tf = self.publisher("tf2_msgs/msg/TFMessage", "/tf")
            self._fixed = self.publisher("tf2_msgs/msg/TFMessage", "/tf_static", latched=True)
            self._fixed.publish(self.scene.tf_static())
        for publisher in (self._image, self._depth, self._info, self._tf):
            wait_for(lambda p=publisher: p.get_subscription_count() >= 1)
        self.stamp_ns += SECOND // 10
        self._info.publish(self.scene.info())
        self._tf.publish(self.scene.tf(self.stamp_ns))
        self._depth.publish(self.scene.depth(self.stamp_ns))
        self._image.publish(self.scene.image(self.stamp_ns))
        return self.stamp_ns


class Robot(Camera):
    """A node under test, a camera that publishes to it, and a client."""

    def __init__(self, ros: Any, pointer: Any = None, connect: Any = None, **values: Any) -> None:
        from molmo_point_ros.node import PointNode
        from rclpy.parameter import Parameter

        super().__init__(ros.create_node("helper"))
        self._clients = {}
        self.pointer = pointer or FakePointer(find_ball)
        overrides = [Parameter(name, value=value) for name, value in {**CAMERA, **values}.items()]
        self.node = PointNode(
            connect or (lambda endpoint: self.pointer), parameter_overrides=overrides
        )

    def up(self) -> Any:
        from rclpy.lifecycle import TransitionCallbackReturn as Return

        assert self.node.trigger_configure() == Return.SUCCESS
        assert self.node.trigger_activate() == Return.SUCCESS
        return self

    def show(self) -> Any:
        """As `Camera.show`, and wait until the node has it."""
        super().show()
        session = self.node.session
        wait_for(lambda: session.buffers["camera"].newest_stamp_ns() == self.stamp_ns)
        wait_for(lambda: session.buffers["camera"].infos.newest is not None)
        wait_for(lambda: len(session.transforms.frames) >= 3)
        return self.stamp_ns

    def listen(self, kind: str, topic: str, latched: bool = False) -> Any:
        from molmo_point_ros.node import profile
        from molmo_point_ros.rclpy_types import message_class
        from molmo_robot.qos import Qos

        heard = []
        qos = profile(Qos(reliable=True, latched=latched, depth=10))
        self.helper.create_subscription(message_class(kind), topic, heard.append, qos)
        return heard

    def goal(self, feedback: Any = None, **fields: Any) -> Any:
        from molmo_point_msgs.action import Point as Action

        client = self.action_client()
        fields = {"query": "ball", "compute_position": True, **fields}
        return result(client.send_goal_async(Action.Goal(**fields), feedback_callback=feedback))

    def action_client(self, name: str = "/point_node/point") -> Any:
        from molmo_point_msgs.action import Point as Action
        from rclpy.action import ActionClient

        if name not in self._clients:
            self._clients[name] = ActionClient(self.helper, Action, name)
        assert self._clients[name].wait_for_server(timeout_sec=10)
        return self._clients[name]

    def call(self, kind: str, name: str, request: Any) -> Any:
        if name not in self._clients:
            self._clients[name] = self.helper.create_client(kind, name)
        client = self._clients[name]
        assert client.wait_for_service(timeout_sec=10)
        return result(client.call_async(request))


def answers_of(robot: Any) -> Any:
    """What the node publishes on ~/points from now on, the last answer before included."""
    return robot.listen("molmo_point_msgs/msg/PointArray", "/point_node/points", latched=True)
