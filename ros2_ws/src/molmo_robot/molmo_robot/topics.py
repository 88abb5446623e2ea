"""Topics and services as tables, for the node, the DDS bridge and the documentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from molmo_robot.continuous_pointing import ContinuousPointing
from molmo_robot.messages.foxglove import image_annotations
from molmo_robot.messages.markers import markers
from molmo_robot.messages.overlay import overlay
from molmo_robot.messages.results import (
    Make,
    best_point,
    best_pose,
    best_pose_stamped,
    detections,
    detections_3d,
    point_array,
    poses,
)
from molmo_robot.qos import EVENTS, LATEST, SENSOR, Qos
from molmo_robot.ros_types import AnyImage, CameraInfoMessage, ImagesQueryMessage, Message
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Answer, Request

DEPTHS_QUEUED = 5
"""With 1 a busy machine lost one depth image of a hundred before its image was chosen."""


@dataclass(frozen=True)
class PublishedTopic:
    """A topic with answers, `~/name`.

    Attributes:
        name: Under the node's name.
        type_name: `package/msg/Name`.
        qos: Its QoS.
        text: What it says, for the documentation.
    """

    name: str
    type_name: str
    qos: Qos
    text: str


@dataclass(frozen=True)
class Output(PublishedTopic):
    """A topic with what an answer about one image says.

    Attributes:
        build: Makes the message, or None where the answer has nothing for this topic.
        watched_only: Expensive: built only while there is a subscriber.
        recorded_only: Only in bags, not on the graph.
        live_only: Only on the graph, not in bags: for nodes that act on it; a recording has the same with its covariance.
    """

    build: Callable[[Make, Answer, Settings], Message | None]
    watched_only: bool = False
    recorded_only: bool = False
    live_only: bool = False


OUTPUTS = (
    Output("points", "molmo_point_msgs/msg/PointArray", LATEST, "The whole answer.",
           lambda make, answer, _: point_array(make, answer)),
    Output("detections", "vision_msgs/msg/Detection2DArray", EVENTS, "The points in pixels, as vision_msgs.",
           detections),
    Output("point", "geometry_msgs/msg/PointStamped", EVENTS, "Position of the best point, where it has one.",
           lambda make, answer, _: best_point(make, answer)),
    Output("pose", "geometry_msgs/msg/PoseWithCovarianceStamped", EVENTS,
           "The same with its covariance; the orientation is unknown and its variance says so.",
           lambda make, answer, _: best_pose(make, answer)),
    Output("pose_stamped", "geometry_msgs/msg/PoseStamped", EVENTS,
           "The same for Nav2 and MoveIt, which take no covariance; the orientation is that of the frame: set your own.",
           lambda make, answer, _: best_pose_stamped(make, answer), live_only=True),
    Output("poses", "geometry_msgs/msg/PoseArray", EVENTS, "Every position of the answer.",
           lambda make, answer, _: poses(make, answer)),
    Output("detections_3d", "vision_msgs/msg/Detection3DArray", EVENTS,
           "Every position with its covariance, as vision_msgs, in the frame of the positions; sizes are not known (0).",
           lambda make, answer, _: detections_3d(make, answer), live_only=True),
    Output("markers", "visualization_msgs/msg/MarkerArray", LATEST, "Ellipsoids (90 %) and labels, for RViz.",
           markers),
    Output("overlay", "sensor_msgs/msg/Image", SENSOR, "The image with the points drawn on it; made only while it is watched.",
           overlay, watched_only=True),
    Output("annotations", "foxglove_msgs/msg/ImageAnnotations", EVENTS, "For Foxglove's image panel (in bags only).",
           image_annotations, recorded_only=True),
)  # fmt: skip

LIVE_OUTPUTS = tuple(output for output in OUTPUTS if not output.recorded_only)
RECORDED_OUTPUTS = tuple(output for output in OUTPUTS if not output.live_only)

IMAGES_ANSWERS = PublishedTopic(
    "points_in_images", "molmo_point_msgs/msg/ImagesAnswer", EVENTS,
    "The answer to every question about several images or a video, also to one that failed.",
)  # fmt: skip

PUBLISHED: tuple[PublishedTopic, ...] = (*LIVE_OUTPUTS, IMAGES_ANSWERS)
"""Every topic that is published on the graph."""


@dataclass(frozen=True)
class Service:
    """A service or action, `~/name`."""

    name: str
    type_name: str
    text: str


SERVICES = (
    Service("point", "molmo_point_msgs/action/Point", "Action: points stream as feedback, cancel reaches the model."),
    Service("query", "molmo_point_msgs/srv/Point", "The same in one call, for callers without action support."),
    Service("point_images", "molmo_point_msgs/action/PointImages",
            "Action: point in the newest images of several cameras together, or in the last frames of one as a video."),
    Service("query_images", "molmo_point_msgs/srv/PointImages", "The same in one call."),
    Service("set_query", "molmo_point_msgs/srv/SetQuery", "Start or stop continuous pointing."),
    Service("enable", "std_srvs/srv/SetBool", "Pause (false) and resume (true) continuous pointing."),
)  # fmt: skip


Role = Literal["image", "info", "depth", "moving", "fixed", "query"]
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class Input:
    """A subscription.

    Attributes:
        topic: As in the parameters: `/absolute`, `relative` or `~/private`.
        type_name: `package/msg/Name`.
        qos: Its QoS.
        text: What it is for.
        receive: Takes a message; returns at once and never raises because of it.
        role: What it contributes to an image; a recording is searched by it.
    """

    topic: str
    type_name: str
    qos: Qos
    text: str
    receive: Callable[[Any], None]
    role: Role


def results(
    make: Make,
    answer: Answer,
    settings: Settings,
    *,
    outputs: tuple[Output, ...] = LIVE_OUTPUTS,
    watched: Callable[[str], bool] = lambda name: True,
) -> list[tuple[Output, Message]]:
    """Build the messages of an answer for every output that has something to say."""
    built = []
    for output in outputs:
        if output.watched_only and not (settings.publish_overlay and watched(output.name)):
            continue
        message = output.build(make, answer, settings)
        if message is not None:
            built.append((output, message))
    return built


def inputs(
    session: Session,
    continuous: ContinuousPointing,
    images: Callable[[ImagesQueryMessage], None] | None = None,
) -> list[Input]:
    """Return every subscription of a session: its cameras, the transforms, the query text and, on a graph, `images`.

    Args:
        session: With its cameras.
        continuous: The continuous query.
        images: Takes questions about several images; None where nobody can ask them.
    """
    found = [
        Input(session.settings.tf_topic, "tf2_msgs/msg/TFMessage", Qos(True, False, 100), "Moving transforms.",
              session.add_transforms, "moving"),
        Input(session.settings.tf_static_topic, "tf2_msgs/msg/TFMessage", Qos(True, True, 100), "Fixed transforms.",
              lambda message: session.add_transforms(message, static=True), "fixed"),
        Input("~/query_text", "std_msgs/msg/String", EVENTS, "Sets the continuous query; empty stops it.",
              lambda message: continuous.set(Request(str(message.data)), session.settings.max_rate_hz), "query"),
    ]  # fmt: skip
    if images is not None:
        words = "Asks about several cameras or a video; ~/points_in_images answers."
        found.append(
            Input(
                "~/images_query",
                "molmo_point_msgs/msg/ImagesQuery",
                EVENTS,
                words,
                images,
                "query",
            )
        )
    for name in session.buffers:
        found += _camera_inputs(session, continuous, name)
    return found


def _camera_inputs(session: Session, continuous: ContinuousPointing, name: str) -> list[Input]:
    buffer = session.buffers[name]
    camera = buffer.settings
    reliable = camera.reliability == "reliable"
    newest, queued = Qos(reliable), Qos(reliable, depth=DEPTHS_QUEUED)

    def image(message: AnyImage) -> None:
        session.add_image(name, message)
        continuous.offer(name, message)

    def calibration(message: CameraInfoMessage) -> None:
        session.add_info(name, message)

    def depth_calibration(message: CameraInfoMessage) -> None:
        session.add_info(name, message, of_depth=True)

    images = IMAGE_TYPES[camera.image_transport == "compressed"]
    depths = IMAGE_TYPES[camera.depth_compressed]
    info = "sensor_msgs/msg/CameraInfo"
    wanted: tuple[tuple[str, str, Qos, str, Callable[[Any], None], Role], ...] = (
        (camera.image_topic, images, newest, "Images.", image, "image"),
        (camera.info_topic, info, newest, "Calibration of the images.", calibration, "info"),
        (camera.info_topic, info, LATEST, "The same, sent once before the node was there.", calibration, "info"),
        (camera.depth_topic, depths, queued, "Depth.", buffer.add_depth, "depth"),
        (camera.depth_info_topic, info, newest, "Calibration of the depth.", depth_calibration, "info"),
        (camera.depth_info_topic, info, LATEST, "The same, sent once before.", depth_calibration, "info"),
    )  # fmt: skip
    return [Input(*found) for found in wanted if found[0]]
