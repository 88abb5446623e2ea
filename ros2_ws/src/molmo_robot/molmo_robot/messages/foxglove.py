"""An answer as Foxglove annotations of its image. Foxglove counts pixels from the image's corner: no half pixel here."""

from __future__ import annotations

import numpy as np

from molmo_robot.messages.results import Make, stamp
from molmo_robot.ros_types import Message
from molmo_robot.settings import Settings
from molmo_robot.types import Answer, LocatedPoint

LINE_LOOP = 2
CORNERS = 24
SIGMAS = 2.1460
"""A 2D Gaussian lies with 90 % inside this many standard deviations: sqrt(-2 ln 0.1)."""


def image_annotations(make: Make, answer: Answer, settings: Settings) -> Message:
    """Build the `foxglove_msgs/ImageAnnotations`: a circle and a label for each point, an ellipse for each covariance."""
    time = stamp(make, answer.snapshot.stamp_ns)
    clear = _color(make, 0.0, 0.0, 0.0, 0.0)
    green = _color(make, 0.1, 1.0, 0.3, 1.0)
    width, height = answer.snapshot.image_size
    side = max(width, height)
    circles, ellipses, texts = [], [], []
    for located in answer.points:
        px, py = located.point.pixel(width, height)
        at = make("foxglove_msgs/msg/Point2", x=px, y=py)
        circles.append(
            make(
                "foxglove_msgs/msg/CircleAnnotation",
                timestamp=time,
                position=at,
                diameter=side / 50,
                thickness=side / 320,
                fill_color=clear,
                outline_color=green,
            )
        )
        texts.append(
            make(
                "foxglove_msgs/msg/TextAnnotation",
                timestamp=time,
                position=make("foxglove_msgs/msg/Point2", x=px + side / 80, y=py),
                text=_caption(answer, located),
                font_size=side / 40,
                text_color=green,
                background_color=_color(make, 0.0, 0.0, 0.0, 0.5),
            )
        )
        if np.isfinite(located.uv_covariance).all():
            ellipses.append(_ellipse(make, located, (px, py), time, clear, green))
    return make(
        "foxglove_msgs/msg/ImageAnnotations", circles=circles, points=ellipses, texts=texts
    )


def _ellipse(
    make: Make,
    located: LocatedPoint,
    centre: tuple[float, float],
    time: Message,
    clear: Message,
    line: Message,
) -> Message:
    values, vectors = np.linalg.eigh(located.uv_covariance)
    angles = np.linspace(0.0, 2 * np.pi, CORNERS, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    rim = (vectors * np.sqrt(np.maximum(values, 0.0)) * SIGMAS) @ circle
    corners = [
        make("foxglove_msgs/msg/Point2", x=centre[0] + float(x), y=centre[1] + float(y))
        for x, y in rim.T
    ]
    return make(
        "foxglove_msgs/msg/PointsAnnotation",
        timestamp=time,
        type=LINE_LOOP,
        points=corners,
        outline_color=line,
        outline_colors=[],
        fill_color=clear,
        thickness=1.0,
    )


def _caption(answer: Answer, located: LocatedPoint) -> str:
    name = located.point.label or answer.pointing.query
    if located.point.score is not None:
        name = f"{name} {located.point.score:.2f}"
    depth_m = located.position.depth_m
    return f"{name} {depth_m:.2f} m" if np.isfinite(depth_m) else name


def _color(make: Make, r: float, g: float, b: float, a: float) -> Message:
    return make("foxglove_msgs/msg/Color", r=r, g=g, b=b, a=a)
