"""Every parameter of the node, once: declared by the node, checked here, written to config/point.yaml and the docs from here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from molmo_calibration.depth.strategies import DEFAULT_STRATEGY, STRATEGIES

from molmo_point.defaults import ZMQ_ADDRESS
from molmo_robot.contrast import CONTRASTS
from molmo_robot.errors import ParameterError
from molmo_robot.parameter_values import from_text, read

Value = Union[bool, int, float, str, list[str], list[float]]


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        name: Without the camera's prefix.
        default: Its type is the parameter's type.
        text: What it does, with the unit.
        low: Smallest value allowed, where there is one.
        high: Largest value allowed, where there is one.
        choices: Allowed words, where only some are.
        live: Whether it may be changed while the node runs; the rest counts from the next configure on.
    """

    name: str
    default: Value
    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False


NODE_PARAMETERS = (
    Parameter("server_endpoint", ZMQ_ADDRESS, "Where the model answers: tcp://host:port or http://host:port."),
    Parameter("server_key", "", "Key file for a tcp:// server that encrypts (molmo-point keys); empty: none."),
    Parameter("require_server", False, "Fail to configure while the server does not answer; else start and wait for it."),
    Parameter("autostart", True, "Configure and activate by itself; set to false under a lifecycle manager."),
    Parameter("cameras", ["camera"], "Names of the cameras; each has the parameters of the second table under its name."),
    Parameter("request_timeout_s", 30.0, "Seconds for one request, unless it says otherwise.", 0.01, 3600.0, live=True),
    Parameter("max_queue", 4, "Requests under way at most; the next is answered BUSY.", 1, 64, live=True),
    Parameter("max_image_age_s", 1.0, "Seconds; an older newest image is NO_IMAGE. 0 allows any.", 0.0, 3600.0, live=True),
    Parameter("sync_tolerance_s", 0.02, "Seconds between an image and its depth image at most.", 0.0, 1.0, live=True),
    Parameter("tf_timeout_s", 0.2, "Seconds to wait for transforms and depth that lag behind.", 0.0, 10.0, live=True),
    Parameter("tf_topic", "/tf", "Moving transforms; a robot in a namespace may have them on /robot1/tf."),
    Parameter("tf_static_topic", "/tf_static", "Fixed transforms."),
    Parameter("tf_cache_s", 30.0, "Seconds of transforms kept; must exceed the longest answer.", 1.0, 600.0),
    Parameter("target_frame", "", "Frame of the positions, unless a request says otherwise; empty: the camera's.", live=True),
    Parameter("position_source", "depth", "How pixels become metres, unless the camera has nothing for it.",
              choices=("depth", "plane", "views"), live=True),
    Parameter("depth_strategy", DEFAULT_STRATEGY, "Which depth readings around a point count.",
              choices=tuple(STRATEGIES), live=True),
    Parameter("depth_window_px", 7.0, "Pixels from the point to the farthest depth reading that counts.", 1.0, 100.0, live=True),
    Parameter("depth_min_m", 0.1, "Metres; nearer readings are OUT_OF_RANGE.", 0.0, 1000.0, live=True),
    Parameter("depth_max_m", 10.0, "Metres; farther readings are OUT_OF_RANGE.", 0.01, 1000.0, live=True),
    Parameter("depth_noise", 0.005, "Depth noise: sigma in metres at one metre; grows with the square of the distance.",
              0.0, 1.0, live=True),
    Parameter("plane_frame", "", "Frame of the plane; empty: target_frame.", live=True),
    Parameter("plane_point", [0.0, 0.0, 0.0], "Metres (x, y, z): a point on the plane, in plane_frame.", live=True),
    Parameter("plane_normal", [0.0, 0.0, 1.0], "Direction (x, y, z) across the plane, in plane_frame.", live=True),
    Parameter("min_parallax_deg", 2.0, "Degrees between the rays of two views at least, before they give a position.",
              0.0, 180.0, live=True),
    Parameter("pixel_sigma_px", 4.0, "Pixels: sigma of a point whose model gives no covariance.", 0.1, 1000.0, live=True),
    Parameter("publish_overlay", True, "Publish ~/overlay while it has a subscriber.", live=True),
    Parameter("marker_size_m", 0.02, "Metres: diameter of a marker without covariance.", 0.001, 10.0, live=True),
    Parameter("marker_lifetime_s", 10.0, "Seconds until a marker disappears by itself; 0 keeps it.", 0.0, 3600.0, live=True),
    Parameter("detection_size_px", 0.0, "Pixels: side of the boxes in ~/detections; 0: none.", 0.0, 10000.0, live=True),
    Parameter("follow", True, "Carry the points of a continuous query from frame to frame between answers (needs OpenCV)."),
    Parameter("query", "", "Continuous query from the start; empty: none."),
    Parameter("max_rate_hz", 0.0, "Hz: answers a continuous query asks for at most; 0: no limit.", 0.0, 1000.0, live=True),
    Parameter("video_frames", 8, "Frames kept of each camera for questions about a video (PointImages); 0: none.", 0, 384),
    Parameter("video_period_s", 0.5, "Seconds between two frames of a video at least; models were trained with 0.5.", 0.2, 60.0),
)  # fmt: skip

CAMERA_PARAMETERS = (
    Parameter("image_topic", "image_raw", "sensor_msgs/Image, or CompressedImage with image_transport compressed."),
    Parameter("image_transport", "raw", "raw or compressed.", choices=("raw", "compressed")),
    Parameter("info_topic", "camera_info", "sensor_msgs/CameraInfo of the image; empty: 2D only."),
    Parameter("contrast", "percentile", "How 16-bit grey (infrared, thermal) becomes 8 bits: percentile stretches the 1st to the "
              "99th percentile, minmax all of it, none takes the upper byte.", choices=CONTRASTS),
    Parameter("depth_topic", "", "Depth, 16UC1 (mm) or 32FC1 (m), as depth_transport says; empty: no depth."),
    Parameter("depth_transport", "auto", "raw (sensor_msgs/Image) or compressed (CompressedImage: compressedDepth as PNG or RVL, "
              "or 16-bit PNG); auto: compressed where the topic's last name begins with compressed.",
              choices=("auto", "raw", "compressed")),
    Parameter("depth_info_topic", "", "sensor_msgs/CameraInfo of the depth image; empty: depth is registered to the image."),
    Parameter("depth_registered", "auto", "Whether depth pixels lie on image pixels; auto decides by the frames and the two "
              "camera_infos.", choices=("auto", "true", "false")),
    Parameter("depth_scale", 0.0, "Metres per unit, for drivers that break REP 118; 0: 16UC1 is mm, 32FC1 is m.", 0.0, 1000.0),
    Parameter("rectified", False, "The image is rectified (image_rect): take P of camera_info instead of K and D."),
    Parameter("rotation", 0, "Degrees clockwise (0, 90, 180, 270) that turn the image upright for the model."),
    Parameter("reliability", "best_effort", "QoS of the subscriptions; best_effort matches every publisher.",
              choices=("best_effort", "reliable")),
)  # fmt: skip


def check(parameter: Parameter, value: object, name: str | None = None) -> Value:
    """Check one value and return it in the parameter's type.

    Args:
        parameter: What it has to fit.
        value: As it came, from a parameter file or from rclpy; read in the parameter's type by `parameter_values.read`.
        name: Full name for the message, with the camera's prefix.

    Raises:
        ParameterError: Wrong type, outside the range, not one of the choices.
    """
    name = name or parameter.name
    kind = type(parameter.default)
    value = read(value, parameter.default, parameter.choices)
    if isinstance(parameter.default, list):
        return _check_list(parameter.default, value, name)
    if type(value) is not kind:
        quotes = "; YAML and ROS read words like this one as a bool: put it in two pairs of quotes, '\"on\"'"
        hint = quotes if kind is str and isinstance(value, bool) and not parameter.choices else ""
        raise ParameterError(f"{name}: expected {kind.__name__}, got {value!r}{hint}")
    if parameter.choices and value not in parameter.choices:
        raise ParameterError(
            f"{name}: expected one of {', '.join(parameter.choices)}, got {value!r}"
        )
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low = -math.inf if parameter.low is None else parameter.low
        high = math.inf if parameter.high is None else parameter.high
        if not low <= value <= high:
            raise ParameterError(f"{name}: expected {low:g} to {high:g}, got {value!r}")
    return value  # type: ignore[no-any-return]


def _check_list(default: Sequence[object], value: object, name: str) -> Value:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise ParameterError(f"{name}: expected a list, got {value!r}")
    items = list(value)
    if isinstance(default[0], float):
        if len(items) != len(default) or not all(_is_finite(item) for item in items):
            raise ParameterError(f"{name}: expected {len(default)} finite numbers, got {items}")
        return [float(item) for item in items]
    if not items or not all(isinstance(item, str) and item for item in items):
        raise ParameterError(f"{name}: expected at least one name, got {items}")
    return [str(item) for item in items]


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def defaults(cameras: Sequence[str] = ("camera",)) -> dict[str, Value]:
    """Return {full name: default} of the node with those cameras."""
    values: dict[str, Value] = {p.name: p.default for p in NODE_PARAMETERS}
    values["cameras"] = list(cameras)
    for camera in cameras:
        values.update({f"{camera}.{p.name}": p.default for p in CAMERA_PARAMETERS})
    return values


def find(name: str, cameras: Sequence[str]) -> Parameter:
    """Return the parameter of a full name.

    Raises:
        ParameterError: There is none; says which there are.
    """
    prefix, _, rest = name.rpartition(".")
    table = NODE_PARAMETERS if not prefix else CAMERA_PARAMETERS if prefix in cameras else ()
    for parameter in table:
        if parameter.name == rest:
            return parameter
    known = ", ".join(defaults(cameras))
    raise ParameterError(f"there is no parameter {name!r}; there are {known}")


def checked(values: Mapping[str, object]) -> dict[str, Value]:
    """Check a whole set and fill it up with the defaults.

    Raises:
        ParameterError: An unknown name or a value that does not fit.
    """
    cameras = check(find("cameras", ()), values.get("cameras", ["camera"]))
    assert isinstance(cameras, list)
    names = [str(name) for name in cameras]
    if len(set(names)) != len(names):
        raise ParameterError(f"cameras: expected different names, got {names}")
    result = defaults(names)
    for name, value in values.items():
        result[name] = check(find(name, names), value, name)
    return result


def from_texts(texts: Mapping[str, str]) -> dict[str, object]:
    """Read {full name: text} of a command line by the types of the parameters; `checked` names those that there are not."""
    tables = {False: NODE_PARAMETERS, True: CAMERA_PARAMETERS}
    values: dict[str, object] = {}
    for name, text in texts.items():
        prefix, _, rest = name.rpartition(".")
        known = next((p for p in tables[bool(prefix)] if p.name == rest), None)
        values[name] = text if known is None else from_text(text, known.default)
    return values
