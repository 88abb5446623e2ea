"""A robot in a room: a camera that moves past a red ball before a wall, as the messages it would publish."""

from __future__ import annotations

from typing import Any

import numpy as np
from molmo_calibration import Transform, link_from_optical
from molmo_robot.dds.types import RosTypes

from molmo_point.images import Array

SECOND = 1_000_000_000
WIDTH, HEIGHT, FOCAL = 320, 240, 300.0
BALL_ODOM = np.array([2.0, 0.1, 0.4])
WALL_X = 2.0
RADIUS_PX = 9.0
TURN_S = 1.5


class Scene:
    """A camera looking along odom's x at a wall with a ball painted on it.

    It drives at `speed` (x, y, z) m/s in odom, and back again after `TURN_S` seconds, and so on.
    """

    def __init__(
        self,
        types: RosTypes,
        speed: tuple[float, float, float] = (0.1, 0.5, 0.0),
        start_ns: int = 100 * SECOND,
        scale: int = 1,
    ) -> None:
        self.make = types.make
        self.speed = np.array(speed)
        self.start_ns = start_ns
        self.width, self.height = WIDTH * scale, HEIGHT * scale
        self.focal, self.radius = FOCAL * scale, RADIUS_PX * scale

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        sec, nanosec = divmod(stamp_ns, SECOND)
        stamp = self.make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def odom_from_base(self, stamp_ns: int) -> Any:
        seconds = (stamp_ns - self.start_ns) / SECOND
        moved = self.speed * (TURN_S - abs(seconds % (2 * TURN_S) - TURN_S))
        return Transform.from_parts(np.eye(3), moved, "odom", "base")

    def base_from_optical(self) -> Any:
        mount = Transform.from_parts(np.eye(3), [0.05, 0.02, 0.3], "base", "camera_link")
        return mount @ link_from_optical("camera_link", "camera_optical")

    def odom_from_camera(self, stamp_ns: int) -> Any:
        return self.odom_from_base(stamp_ns) @ self.base_from_optical()

    def ball_uv(self, stamp_ns: int) -> Any:
        x, y, z = self.odom_from_camera(stamp_ns).inverse().apply(BALL_ODOM)
        return np.array(
            [self.focal * x / z + (self.width - 1) / 2, self.focal * y / z + (self.height - 1) / 2]
        )

    def image(self, stamp_ns: int, encoding: str = "rgb8") -> Any:
        v, u = np.mgrid[0 : self.height, 0 : self.width]
        u0, v0 = self.ball_uv(stamp_ns)
        # A soft rim, so that the centre of mass is good to a hundredth of a pixel.
        cover = np.clip(self.radius + 0.5 - np.hypot(u - u0, v - v0), 0.0, 1.0)
        rgb = np.zeros((self.height, self.width, 3), np.uint8)
        rgb[..., 0] = np.rint(255 * cover)
        data = rgb if encoding == "rgb8" else rgb[..., ::-1]
        return self.image_message(stamp_ns, data, encoding, 3 * self.width)

    def image_message(
        self,
        stamp_ns: int,
        array: Array,
        encoding: str,
        step: int,
        frame_id: str = "camera_optical",
        size: tuple[int, int] | None = None,
    ) -> Any:
        size = size or (self.width, self.height)
        return self.make(
            "sensor_msgs/msg/Image",
            header=self.header(stamp_ns, frame_id),
            height=size[1],
            width=size[0],
            encoding=encoding,
            is_bigendian=0,
            step=step,
            data=np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8),
        )

    def depth(
        self, stamp_ns: int, encoding: str = "32FC1", frame_id: str = "camera_optical"
    ) -> Any:
        z = WALL_X - self.odom_from_camera(stamp_ns).translation[0]
        if encoding == "32FC1":
            return self.image_message(
                stamp_ns,
                np.full((self.height, self.width), z, np.float32),
                encoding,
                4 * self.width,
                frame_id,
            )
        millimetres = np.full((self.height, self.width), round(z * 1000), np.uint16)
        return self.image_message(stamp_ns, millimetres, encoding, 2 * self.width, frame_id)

    def info(
        self,
        focal: Any = None,
        size: tuple[int, int] | None = None,
        frame_id: str = "camera_optical",
        distortion: str = "plumb_bob",
    ) -> Any:
        focal, size = focal or self.focal, size or (self.width, self.height)
        k = np.array([focal, 0, (size[0] - 1) / 2, 0, focal, (size[1] - 1) / 2, 0, 0, 1.0])
        p = np.array([focal, 0, k[2], 0, 0, focal, k[5], 0, 0, 0, 1.0, 0])
        roi = self.make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        )
        return self.make(
            "sensor_msgs/msg/CameraInfo",
            header=self.header(self.start_ns, frame_id),
            height=size[1],
            width=size[0],
            distortion_model=distortion,
            d=np.zeros(5),
            k=k,
            r=np.eye(3).ravel(),
            p=p,
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def transform(self, stamp_ns: int, transform: Any) -> Any:
        q, t = transform.quaternion, transform.translation
        return self.make(
            "geometry_msgs/msg/TransformStamped",
            header=self.header(stamp_ns, transform.to_frame),
            child_frame_id=transform.from_frame,
            transform=self.make(
                "geometry_msgs/msg/Transform",
                translation=self.make("geometry_msgs/msg/Vector3", x=t[0], y=t[1], z=t[2]),
                rotation=self.make("geometry_msgs/msg/Quaternion", x=q[0], y=q[1], z=q[2], w=q[3]),
            ),
        )

    def tf(self, stamp_ns: int) -> Any:
        return self.make(
            "tf2_msgs/msg/TFMessage",
            transforms=[self.transform(stamp_ns, self.odom_from_base(stamp_ns))],
        )

    def tf_static(self) -> Any:
        return self.make(
            "tf2_msgs/msg/TFMessage",
            transforms=[self.transform(self.start_ns, self.base_from_optical())],
        )


def find_ball(image: Array, query: str) -> Any:
    """What a pointing model would say: the centre of mass of what is red, or nothing."""
    weight = image[..., 0].astype(np.float64)
    if weight.sum() < 255:
        return []
    height, width = weight.shape
    v, u = np.mgrid[0:height, 0:width]
    x = ((u * weight).sum() / weight.sum() + 0.5) / width
    y = ((v * weight).sum() / weight.sum() + 0.5) / height
    return [(float(x), float(y))]


class Drive:
    """Plays a scene into a session in time order: images and depth at 30 Hz, transforms at 100 Hz and `late_ns` late."""

    late_ns = 0

    def __init__(self, scene: Scene, session: Any = None) -> None:
        self.scene = scene
        self.session = session
        self.now_ns = scene.start_ns
        self._image = self._transform = 0
        self.depth_encoding = "32FC1"

    def clock(self) -> Any:
        return self.now_ns

    def begin(self) -> None:
        self.session.add_transforms(self.scene.tf_static(), static=True)
        self.session.buffers["camera"].add_info(self.scene.info())

    def advance(self, seconds: float) -> None:
        end = self.now_ns + round(seconds * SECOND)
        scene, buffer = self.scene, self.session.buffers["camera"]
        while True:
            image_ns = scene.start_ns + self._image * SECOND // 30
            transform_ns = scene.start_ns + self._transform * SECOND // 100
            arrival_ns = min(image_ns, transform_ns + self.late_ns)
            if arrival_ns > end:
                break
            self.now_ns = arrival_ns
            if arrival_ns == image_ns:
                buffer.add_image(scene.image(image_ns))
                buffer.add_depth(scene.depth(image_ns, self.depth_encoding))
                self._image += 1
            else:
                self.session.add_transforms(scene.tf(transform_ns))
                self._transform += 1
        self.now_ns = end
