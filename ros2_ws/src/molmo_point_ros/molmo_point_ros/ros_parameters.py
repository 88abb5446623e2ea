"""The parameters of `parameters.py` on an rclpy node: declared, read, and changed while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from molmo_robot.errors import ParameterError
from molmo_robot.parameters import CAMERA_PARAMETERS, NODE_PARAMETERS, Parameter, find
from molmo_robot.settings import Settings
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException


class NodeParameters:
    """The declared parameters of a node.

    Args:
        node: An rclpy node.
        changed: Called with the new settings after a live parameter was set; None while nothing runs.
    """

    def __init__(self, node: Any, changed: Callable[[Settings], None]) -> None:
        self._node = node
        self._changed = changed
        self.running = False
        for parameter in NODE_PARAMETERS:
            _declare(node, parameter, "")
        self.cameras: list[str] = []
        self._declare_cameras()
        node.add_on_set_parameters_callback(self._on_set)

    def settings(self) -> Settings:
        """Return the parameters as settings; declares those of cameras that are new.

        Raises:
            ParameterError: They cannot be used.
        """
        self._declare_cameras()
        return Settings.of(self._values(self.cameras))

    def _declare_cameras(self) -> None:
        self.cameras = _names(self._node.get_parameter("cameras").value)
        for camera in self.cameras:
            for parameter in CAMERA_PARAMETERS:
                if not self._node.has_parameter(f"{camera}.{parameter.name}"):
                    _declare(self._node, parameter, f"{camera}.")

    def _values(self, cameras: Sequence[str]) -> dict[str, Any]:
        names = [p.name for p in NODE_PARAMETERS]
        names += [f"{camera}.{p.name}" for camera in cameras for p in CAMERA_PARAMETERS]
        known = [name for name in names if self._node.has_parameter(name)]
        return {name: _plain(self._node.get_parameter(name).value) for name in known}

    def _on_set(self, parameters: Sequence[Any]) -> Any:
        given = {p.name: _plain(p.value) for p in parameters}
        cameras = _names(given.get("cameras", self._node.get_parameter("cameras").value))
        ours = {name: value for name, value in given.items() if _is_ours(name, cameras)}
        try:
            if self.running:
                for name in ours:
                    if not find(name, cameras).live:
                        raise ParameterError(
                            f"{name} counts from the next configure on: deactivate and clean up the node first"
                        )
            settings = Settings.of({**self._values(cameras), **ours})
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self.running and ours:
            self._changed(settings)
        return SetParametersResult(successful=True, reason="")


def _is_ours(name: str, cameras: Sequence[str]) -> bool:
    """Whether a parameter is in the tables; `use_sim_time` and rclpy's others are not ours to judge."""
    try:
        find(name, cameras)
    except ParameterError:
        return False
    return True


def _names(cameras: Any) -> list[str]:
    """Names to declare parameters for; none where `cameras` is no list, which configure then names."""
    names = _plain(cameras)
    return [str(name) for name in names] if isinstance(names, list) else []


def _declare(node: Any, parameter: Parameter, prefix: str) -> None:
    name = prefix + parameter.name
    # Typed by our own checks: those of rclpy end the process at a `5` where a `5.0` is meant, while ours take it, and
    # fail the configuration with a sentence where a value cannot be.
    loose = ParameterDescriptor(description=parameter.text, dynamic_typing=True)
    node.declare_parameter(name, parameter.default, loose)
    with contextlib.suppress(ParameterException):
        node.set_descriptor(name, _descriptor(parameter))


def _descriptor(parameter: Parameter) -> Any:
    descriptor = ParameterDescriptor(description=parameter.text, dynamic_typing=True)
    if parameter.choices:
        descriptor.additional_constraints = f"one of {', '.join(parameter.choices)}"
    if parameter.low is not None and parameter.high is not None:
        if isinstance(parameter.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=parameter.low, to_value=parameter.high, step=0.0)
            ]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high), step=1)
            ]
    return descriptor


def _plain(value: Any) -> Any:
    """Arrays of parameters come as array.array or tuple; settings take lists."""
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else value
