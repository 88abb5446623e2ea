"""An answer as Foxglove annotations of its picture. Foxglove counts pixels from the image's corner: no half pixel here."""

from __future__ import annotations

from typing import Any

import numpy as np

from molmo_robot.messages.results import Make, stamp
from molmo_robot.settings import Settings
from molmo_robot.types import Answer, Placed

LINE_LOOP = 2
CORNERS = 24
SIGMAS = 2.1460
"""A 2D Gaussian lies with 90 % inside this many standard deviations: sqrt(-2 ln 0.1)."""


def image_annotations(make: Make, answer: Answer, settings: Settings) -> Any:
    """Build the `foxglove_msgs/ImageAnnotations`: a circle and a label for each point, an ellipse where it is known."""
    time = stamp(make, answer.moment.stamp_ns)
    clear = _color(make, 0.0, 0.0, 0.0, 0.0)
    green = _color(make, 0.1, 1.0, 0.3, 1.0)
    width, height = answer.moment.image_size
    side = max(width, height)
    circles, ellipses, texts = [], [], []
    for placed in answer.points:
        px, py = placed.point.pixel(width, height)
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
                text=_caption(answer, placed),
                font_size=side / 40,
                text_color=green,
                background_color=_color(make, 0.0, 0.0, 0.0, 0.5),
            )
        )
        if np.isfinite(placed.uv_covariance).all():
            ellipses.append(_ellipse(make, placed, (px, py), time, clear, green))
    return make(
        "foxglove_msgs/msg/ImageAnnotations", circles=circles, points=ellipses, texts=texts
    )


def _ellipse(
    make: Make, placed: Placed, centre: tuple[float, float], time: Any, clear: Any, line: Any
) -> Any:
    values, vectors = np.linalg.eigh(placed.uv_covariance)
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


def _caption(answer: Answer, placed: Placed) -> str:
    name = placed.point.label or answer.pointing.query
    if placed.point.score is not None:
        name = f"{name} {placed.point.score:.2f}"
    depth_m = placed.position.depth_m
    return f"{name} {depth_m:.2f} m" if np.isfinite(depth_m) else name


def _color(make: Make, r: float, g: float, b: float, a: float) -> Any:
    return make("foxglove_msgs/msg/Color", r=r, g=g, b=b, a=a)
