"""Options and imports that the commands for robots share."""

from __future__ import annotations

import importlib
from collections.abc import Callable
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

DepthScale = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="Metres per unit of the depth images; 0: 16UC1 is mm, 32FC1 is m (REP 118).",
    ),
]
TfNamespace = Annotated[
    str,
    typer.Option(
        help="Transforms are on NAMESPACE/tf and NAMESPACE/tf_static, e.g. /robot1; default: /tf and /tf_static."
    ),
]


def transform_topics(namespace: str) -> dict[str, object]:
    """Return the parameters for transforms below a namespace."""
    above = "/" + namespace.strip("/") if namespace.strip("/") else ""
    return {"tf_topic": f"{above}/tf", "tf_static_topic": f"{above}/tf_static"}


def robot_class() -> Any:
    """Return `molmo_robot.robot.Robot`, which needs no ROS.

    Raises:
        MissingExtra: The package, or the calibration it stands on, is not there.
    """
    return _part("robot").Robot


def with_settings(options: dict[str, object], settings: list[str] | None) -> dict[str, object]:
    """Return the parameters of a command's options and of its `--set` together.

    Args:
        options: Parameters by name; empty, 0 or False where the option is not given.
        settings: Values of `--set`.

    Raises:
        UsageError: An option and `--set` give one parameter two values.
    """
    given = parameters_of(settings)
    read: Callable[[object, object], object] = _part("parameter_values").read
    for name, value in given.items():
        if options.get(name) and read(value, options[name]) != options[name]:
            raise UsageError(
                f"--set {name}: expected the value {options[name]!r} that the command's own option gives, got {value!r}: "
                "leave one of the two out"
            )
    return {**options, **given}


def parameters_of(settings: list[str] | None) -> dict[str, object]:
    """Read `NAME=VALUE` options: each value is text, read by the type of its parameter.

    Raises:
        UsageError: No equals sign.
        MissingExtra: The package that knows the parameters is not there.
    """
    texts: dict[str, str] = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set: expected NAME=VALUE, got {setting!r}")
        if texts.get(name, value) != value:
            raise UsageError(
                f"--set {name}: expected one value, got {texts[name]!r} and {value!r}"
            )
        texts[name] = value
    if not texts:
        return {}
    from_texts: Callable[[dict[str, str]], dict[str, object]] = _part("parameters").from_texts
    return from_texts(texts)


def _part(name: str) -> Any:
    """Import a module of this package that needs the calibration."""
    try:
        return importlib.import_module(f"molmo_robot.{name}")
    except ImportError as error:
        raise import_failure(
            error, error.name or "molmo_robot", "calibration", "positions for robots"
        ) from error
