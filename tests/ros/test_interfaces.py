"""The packages of the workspace, judged by ROS's own tools where Debian or PyPI has them: rosidl, catkin_pkg, colcon."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from molmo_robot import docs_tables
from molmo_robot.codes import STATUS_NUMBERS, Code, PositionStatus, Stage
from molmo_robot.dds.types import INTERFACES, RosTypes
from rosbags.typesys import get_types_from_msg

ROOT = Path(__file__).parents[2]
SRC = ROOT / "ros2_ws" / "src"
MSGS, NODE, ROBOT = SRC / "molmo_point_msgs", SRC / "molmo_point_ros", SRC / "molmo_robot"
TEXTS = sorted(p for p in MSGS.glob("*/*") if p.suffix in (".msg", ".srv", ".action"))
PARTS = {
    ".msg": ("",),
    ".srv": ("_Request", "_Response"),
    ".action": ("_Goal", "_Result", "_Feedback"),
}


def type_hashes() -> Any:
    """RIHS01 of every message, and of every part of a service or action, as rosidl computes them."""
    store = RosTypes("jazzy").store
    found = {}
    for path in TEXTS:
        kind = path.suffix[1:]
        for part, text in zip(PARTS[path.suffix], path.read_text().split("---\n"), strict=True):
            short = path.stem + part
            name, plain = f"molmo_point_msgs/{kind}/{short}", f"molmo_point_msgs/msg/{short}"
            if plain not in store.fielddefs:
                store.register(get_types_from_msg(text, plain))
            store.fielddefs[name] = store.fielddefs[plain]
            found[name] = store.hash_rihs01(name)
    return found


def test_the_interfaces_are_those_that_were_frozen() -> None:
    """A change of a field breaks every recorded bag and every peer: if it is intended, regenerate type_hashes.json."""
    assert type_hashes() == json.loads((MSGS / "type_hashes.json").read_text())


def test_a_changed_field_changes_the_hash() -> None:
    store = RosTypes("jazzy").store
    before = store.hash_rihs01("molmo_point_msgs/msg/PointedObject")
    constants, fields = store.fielddefs["molmo_point_msgs/msg/PointedObject"]
    store.fielddefs["molmo_point_msgs/msg/PointedObject"] = (constants, [*fields[:-1]])
    assert store.hash_rihs01("molmo_point_msgs/msg/PointedObject") != before


def test_the_pip_package_carries_the_same_messages() -> None:
    copies = {p.name: p.read_text() for p in (INTERFACES / "molmo_point_msgs" / "msg").glob("*")}
    assert copies == {p.name: p.read_text() for p in (MSGS / "msg").glob("*.msg")}


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.name)
def test_every_field_has_a_comment_with_its_meaning_and_none_is_a_char(path: Path) -> None:
    for line in path.read_text().splitlines():
        code, _, comment = line.partition("#")
        if not code.strip() or code.strip() == "---" or "=" in code:
            continue
        assert not re.match(r"char\b", code.strip()), line
        assert comment.strip(), f"{path.name}: say what it is, its unit and frame: {line}"


ROSIDL = """
import pathlib, sys
from rosidl_adapter.action import convert_action_to_idl
from rosidl_adapter.msg import convert_msg_to_idl
from rosidl_adapter.srv import convert_srv_to_idl
from rosidl_parser.definition import IdlLocator
from rosidl_parser.parser import parse_idl_file
convert = {".msg": convert_msg_to_idl, ".srv": convert_srv_to_idl, ".action": convert_action_to_idl}
base, out = map(pathlib.Path, sys.argv[1:])
for path in sorted(base.glob("*/*")):
    if path.suffix in convert:
        made = convert[path.suffix](base, "molmo_point_msgs", path.relative_to(base), out / path.parent.name)
        parse_idl_file(IdlLocator(out, made.relative_to(out)))
        print('parsed', path.name)
"""


def test_debians_rosidl_parses_every_interface(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    probe = [python, "-c", "import em, rosidl_adapter, rosidl_parser"]
    if not Path(python).exists() or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("needs Debian's tools: apt-get install python3-rosidl python3-empy")
    command = [python, "-c", ROSIDL, str(MSGS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    parsed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("parsed ")]
    assert parsed == [p.name for p in TEXTS]


def test_the_cmake_file_lists_every_interface() -> None:
    listed = re.findall(r'"(\w+/\w+\.\w+)"', (MSGS / "CMakeLists.txt").read_text())
    assert sorted(listed) == sorted(str(p.relative_to(MSGS)) for p in TEXTS)


@pytest.mark.parametrize("package", [MSGS, NODE, ROBOT], ids=lambda p: p.name)
def test_package_xml_is_valid(package: Any) -> None:
    catkin = pytest.importorskip("catkin_pkg.package", reason="needs: pip install catkin_pkg")
    found = catkin.parse_package(str(package))
    found.validate(warnings=(warnings := []))
    assert not warnings
    assert found.name == package.name


def test_every_package_the_node_imports_is_a_dependency() -> None:
    catkin = pytest.importorskip("catkin_pkg.package", reason="needs: pip install catkin_pkg")
    declared = {d.name for d in catkin.parse_package(str(NODE)).exec_depends}
    files = [*(NODE / "molmo_point_ros").glob("*.py"), *(ROBOT / "molmo_robot").rglob("*.py")]
    text = "\n".join(p.read_text() for p in files)
    used = set(re.findall(r'"(\w+_(?:msgs|srvs|interfaces))/(?:msg|srv|action)/', text))
    used |= set(re.findall(r"^from (rclpy|rcl_interfaces)", text, re.M))
    # Only bags carry Foxglove's annotations, and the pip package has their definitions.
    assert used - {"foxglove_msgs"} <= declared, used - declared


def test_constants_are_the_enumerations_of_the_code() -> None:
    def constants(name: str, prefix: str = "") -> Any:
        text = (MSGS / name).read_text()
        found = re.findall(rf"^uint8 {prefix}([A-Z_]+)=(\d+)", text, re.M)
        return {key: int(value) for key, value in found}

    assert constants("msg/PointedObject.msg", "POSITION_") == {
        s.name: s.value for s in PositionStatus
    }
    statuses = {status.name: number for status, number in STATUS_NUMBERS.items()}
    assert constants("msg/PointArray.msg", "STATUS_") == statuses
    everything = constants("action/Point.action")
    assert {k: everything[k] for k in Code.__members__} == {c.name: c.value for c in Code}
    assert {k: everything[k] for k in Stage.__members__} == {s.name: s.value for s in Stage}
    assert constants("srv/Point.srv") == {c.name: c.value for c in Code}
    several = constants("msg/ImagesAnswer.msg")
    assert several == {c.name: c.value for c in Code} | {
        f"STATUS_{name}": number for name, number in statuses.items()
    }
    stages = constants("action/PointImages.action")
    assert stages == {s.name: s.value for s in Stage}


@pytest.mark.parametrize("path", sorted(NODE.glob("launch/*.py")), ids=lambda p: p.name)
def test_launch_files_are_python_and_describe_what_exists(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
    assert "generate_launch_description" in functions
    names = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    for name in names & {"point.yaml", "point.rviz", "point.launch.py"}:
        assert list(NODE.glob(f"*/{name}")), name
    if "executable" in path.read_text():
        assert names & {"point_node", "rviz2"}


def test_launch_parameters_are_parameters_of_the_node() -> None:
    from molmo_robot.parameters import defaults

    tree = ast.parse((NODE / "launch" / "point.launch.py").read_text())
    named = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and "." in str(key.value)
    }
    assert named
    assert named <= set(defaults())


def test_the_parameter_file_is_the_code(tmp_path: Path) -> None:
    """`python -m molmo_robot.docs_tables yaml > config/point.yaml` writes it again."""
    text = (NODE / "config" / "point.yaml").read_text()
    assert text == docs_tables.yaml_text()
    from molmo_robot.settings import Settings

    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    camera = values.pop("camera")
    Settings.of({**values, **{f"camera.{name}": value for name, value in camera.items()}})


def test_the_tables_of_the_documentation_are_the_code() -> None:
    """`python -m molmo_robot.docs_tables markdown` prints them."""
    assert docs_tables.markdown_text() in (ROOT / "docs" / "robots.md").read_text()


def test_the_rviz_file_shows_what_the_node_publishes() -> None:
    from molmo_robot.topics import OUTPUTS

    text = (NODE / "rviz" / "point.rviz").read_text()
    yaml.safe_load(text)
    shown = set(re.findall(r"/point_node/(\w+)", text))
    assert shown
    assert shown <= {output.name for output in OUTPUTS}


def colcon() -> Any:
    """The colcon in an environment of its own inside this one (it wants an older setuptools), or on the path."""
    inside = Path(sys.prefix) / "colcon" / "bin" / "colcon"
    return str(inside) if inside.exists() else shutil.which("colcon")


def test_colcon_builds_the_node_package_without_ros(tmp_path: Path) -> None:
    if colcon() is None:
        pytest.skip(
            "needs colcon: python3 -m venv .venv/colcon && .venv/colcon/bin/pip install colcon-common-extensions"
        )
    shutil.copytree(SRC, tmp_path / "src")
    command = [
        colcon(),
        "build",
        "--packages-ignore",
        "molmo_point_msgs",
        "--event-handlers",
        "console_direct+",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    install = tmp_path / "install" / "molmo_point_ros"
    for name in ("point_node", "point_client"):
        assert (install / "lib" / "molmo_point_ros" / name).exists(), name
    share = install / "share" / "molmo_point_ros"
    for name in ("package.xml", "launch/point.launch.py", "config/point.yaml", "rviz/point.rviz"):
        assert (share / name).exists(), name
    index = install / "share" / "ament_index" / "resource_index" / "packages" / "molmo_point_ros"
    assert index.exists()
    assert list(install.glob("lib/python*/site-packages/molmo_point_ros/node.py"))
    robot = tmp_path / "install" / "molmo_robot"
    (package,) = robot.glob("lib/python*/site-packages/molmo_robot")
    assert {"session.py", "messages", "positions", "dds"} <= {p.name for p in package.iterdir()}
    assert list(package.glob("dds/interfaces/*/msg/*.msg"))
