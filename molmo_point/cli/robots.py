"""What the commands for robots share: the door to `molmo_point_ros`, and parameters on the command line."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from molmo_point.errors import UsageError
from molmo_point.install import import_failure

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="NAME=VALUE: any parameter of the ROS node, e.g. --set depth_strategy=median (repeatable).",
    ),
]


def robot_class() -> Any:
    """Return `molmo_point_ros.robot.Robot`, the ROS-free half of the ROS package.

    Raises:
        MissingExtra: The package, or the calibration it stands on, is not there.
    """
    try:
        from molmo_point_ros.robot import Robot
    except ImportError as error:
        raise import_failure(
            error, error.name or "molmo_point_ros", "calibration", "positions for robots"
        ) from error
    return Robot


def parameters_of(settings: list[str] | None) -> dict[str, Any]:
    """Read `NAME=VALUE` options; values are JSON where they can be, else words.

    Raises:
        UsageError: No equals sign.
    """
    parameters: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set: expected NAME=VALUE, got {setting!r}")
        try:
            parameters[name] = json.loads(value)
        except json.JSONDecodeError:
            parameters[name] = value
    return parameters
