"""The parameter file and the tables of the documentation, written from the code that the node runs.

`python -m molmo_robot.docs_tables yaml` prints config/point.yaml, `... markdown` the tables of docs/robots.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

from molmo_point.testing import FakePointer
from molmo_robot.continuous_pointing import ContinuousPointing
from molmo_robot.parameters import CAMERA_PARAMETERS, NODE_PARAMETERS, Parameter
from molmo_robot.qos import Qos
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.topics import IMAGES_ANSWERS, OUTPUTS, SERVICES, inputs


def yaml_text() -> str:
    """Return the parameter file: every parameter with its default, its range and its meaning."""
    lines = [
        "# Every parameter of point_node with its default. Written from molmo_robot/parameters.py; a test keeps them equal.",
        "/**:",
        "  ros__parameters:",
    ]
    for parameter in NODE_PARAMETERS:
        lines += _entry(parameter, "    ")
    lines += ["", "    # One such block for each name in `cameras`.", "    camera:"]
    for parameter in CAMERA_PARAMETERS:
        lines += _entry(parameter, "      ")
    return "\n".join(lines) + "\n"


def _entry(parameter: Parameter, indent: str) -> list[str]:
    return [
        f"{indent}# {parameter.text}{_limits(parameter)}",
        f"{indent}{parameter.name}: {json.dumps(parameter.default)}",
    ]


def _limits(parameter: Parameter) -> str:
    if parameter.choices:
        return f" One of: {', '.join(parameter.choices)}."
    if parameter.low is not None and parameter.high is not None:
        return f" {parameter.low:g} to {parameter.high:g}."
    return ""


def markdown_text() -> str:
    """Return the tables of topics, services and parameters."""
    session = Session(Settings.of(_everything()), FakePointer())
    continuous = ContinuousPointing(session, lambda answer: None)
    heard = inputs(session, continuous, lambda message: None)
    parts = [
        _table(
            "Published topics",
            ("topic", "type", "QoS", "what it says"),
            (
                (f"`~/{o.name}`", f"`{o.type_name}`", _qos(o.qos), o.text)
                for o in (*OUTPUTS, IMAGES_ANSWERS)
            ),
        ),
        _table(
            "Subscribed topics",
            ("topic", "type", "QoS", "what it is for"),
            ((f"`{i.topic}`", f"`{i.type_name}`", _qos(i.qos), i.text) for i in heard),
        ),
        _table(
            "Services and actions",
            ("name", "type", "what it does"),
            ((f"`~/{s.name}`", f"`{s.type_name}`", s.text) for s in SERVICES),
        ),
        _table("Parameters", _HEAD, map(_row, NODE_PARAMETERS)),
        _table(
            "Parameters of each camera (`NAME.parameter`)", _HEAD, map(_row, CAMERA_PARAMETERS)
        ),
    ]
    return "\n".join(parts)


_HEAD = ("parameter", "default", "while it runs", "what it does")


def _row(parameter: Parameter) -> tuple[str, ...]:
    default = json.dumps(parameter.default)
    live = "yes" if parameter.live else "from the next configure on"
    return f"`{parameter.name}`", f"`{default}`", live, parameter.text + _limits(parameter)


def _everything() -> dict[str, object]:
    topics = ("image_topic", "info_topic", "depth_topic", "depth_info_topic")
    return {f"camera.{name}": f"<camera.{name}>" for name in topics}


def _qos(qos: Qos) -> str:
    reliability = "reliable" if qos.reliable else "best effort"
    durability = ", transient local" if qos.latched else ""
    return f"{reliability}{durability}, depth {qos.depth}"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"#### {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(yaml_text() if sys.argv[1:] == ["yaml"] else markdown_text())
