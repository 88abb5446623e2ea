"""`Settings`: the parameters as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from molmo_robot.errors import ParameterError
from molmo_robot.parameters import CAMERA_PARAMETERS, NODE_PARAMETERS, Value, checked

ROTATIONS = (0, 90, 180, 270)


@dataclass(frozen=True)
class CameraSettings:
    """One camera; fields as in `parameters.CAMERA_PARAMETERS`."""

    name: str
    image_topic: str
    image_transport: Literal["raw", "compressed"]
    info_topic: str
    contrast: Literal["percentile", "minmax", "none"]
    depth_topic: str
    depth_transport: Literal["auto", "raw", "compressed"]
    depth_info_topic: str
    depth_registered: Literal["auto", "true", "false"]
    depth_scale: float
    rectified: bool
    rotation: int
    reliability: Literal["best_effort", "reliable"]

    @property
    def depth_compressed(self) -> bool:
        """Whether depth comes as `sensor_msgs/CompressedImage`."""
        if self.depth_transport == "auto":
            return self.depth_topic.rpartition("/")[2].startswith("compressed")
        return self.depth_transport == "compressed"


@dataclass(frozen=True)
class Settings:
    """The node; fields as in `parameters.NODE_PARAMETERS`, `cameras` by name."""

    server_endpoint: str
    server_key: str
    require_server: bool
    autostart: bool
    cameras: Mapping[str, CameraSettings]
    request_timeout_s: float
    max_queue: int
    max_image_age_s: float
    sync_tolerance_s: float
    tf_timeout_s: float
    tf_topic: str
    tf_static_topic: str
    tf_cache_s: float
    target_frame: str
    position_source: Literal["depth", "plane", "views"]
    depth_strategy: str
    depth_window_px: float
    depth_min_m: float
    depth_max_m: float
    depth_noise: float
    plane_frame: str
    plane_point: tuple[float, float, float]
    plane_normal: tuple[float, float, float]
    min_parallax_deg: float
    pixel_sigma_px: float
    publish_overlay: bool
    marker_size_m: float
    marker_lifetime_s: float
    detection_size_px: float
    follow: bool
    query: str
    max_rate_hz: float
    video_frames: int
    video_period_s: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Check parameters by their full names (`front.image_topic`) and make settings of them.

        Raises:
            ParameterError: An unknown name, a wrong value, or values that do not go together.
        """
        full = checked(values)
        names = cast("list[str]", full["cameras"])
        fields: dict[str, Any] = {p.name: _frozen(full[p.name]) for p in NODE_PARAMETERS}
        fields["cameras"] = {name: _camera(name, full) for name in names}
        settings = cls(**fields)
        _check_together(settings)
        return settings

    def camera(self, name: str) -> CameraSettings | None:
        """Return the camera of that name, the first for an empty name, None where there is none."""
        return self.cameras.get(name or next(iter(self.cameras)))


def _frozen(value: Value) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _camera(name: str, full: Mapping[str, Value]) -> CameraSettings:
    fields: dict[str, Any] = {p.name: full[f"{name}.{p.name}"] for p in CAMERA_PARAMETERS}
    if fields["rotation"] not in ROTATIONS:
        raise ParameterError(
            f"{name}.rotation: expected one of 0, 90, 180, 270, got {fields['rotation']}"
        )
    if not fields["image_topic"]:
        raise ParameterError(f"{name}.image_topic: expected a topic, got an empty name")
    if fields["depth_registered"] == "false" and not fields["depth_info_topic"]:
        raise ParameterError(
            f"{name}.depth_info_topic: depth that is not registered needs its own camera_info; "
            "name its topic, or set depth_registered to auto"
        )
    return CameraSettings(name=name, **fields)


def _check_together(settings: Settings) -> None:
    topics = {"tf_topic": settings.tf_topic, "tf_static_topic": settings.tf_static_topic}
    for camera in settings.cameras.values():
        for name in ("image_topic", "info_topic", "depth_topic", "depth_info_topic"):
            topics[f"{camera.name}.{name}"] = getattr(camera, name)
    for name, topic in topics.items():
        if any(character.isspace() for character in topic):
            raise ParameterError(f"{name}: expected a topic without blanks, got {topic!r}")
        if topic.endswith("/") or "//" in topic:
            raise ParameterError(
                f"{name}: expected a topic without an empty part between or after its slashes, got {topic!r}"
            )
    for name in ("tf_topic", "tf_static_topic"):
        if not getattr(settings, name):
            raise ParameterError(f"{name}: expected a topic, got an empty name")
    if settings.depth_min_m >= settings.depth_max_m:
        raise ParameterError(
            f"depth_min_m must be less than depth_max_m, got {settings.depth_min_m} "
            f"and {settings.depth_max_m}"
        )
    if not any(settings.plane_normal):
        raise ParameterError("plane_normal: expected a direction, got (0, 0, 0)")
    if settings.tf_cache_s < settings.request_timeout_s:
        raise ParameterError(
            f"tf_cache_s ({settings.tf_cache_s}) must be at least request_timeout_s "
            f"({settings.request_timeout_s}): the image's transform is needed until its answer is there"
        )
    scheme = settings.server_endpoint.partition("://")[0]
    if scheme not in ("tcp", "ipc", "http", "https"):
        raise ParameterError(
            "server_endpoint: expected tcp://host:port or http://host:port, "
            f"got {settings.server_endpoint!r}"
        )
