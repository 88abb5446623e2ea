"""The launch files' own logic, on stand-ins for launch and launch_ros that only record."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from molmo_robot.parameters import defaults

LAUNCH = Path(__file__).parents[2] / "ros2_ws" / "src" / "molmo_point_ros" / "launch"


class Recorded:
    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments, self.options = arguments, options

    def __init_subclass__(cls) -> None:
        cls.__hash__ = object.__hash__

    def perform(self, context: Any) -> Any:
        """As a LaunchConfiguration: what was given on the command line, else the declared default."""
        return context[self.arguments[0]]


NAMES = {
    "launch": ("LaunchDescription",),
    "launch.actions": ("DeclareLaunchArgument", "OpaqueFunction", "IncludeLaunchDescription"),
    "launch.launch_description_sources": ("PythonLaunchDescriptionSource",),
    "launch.substitutions": ("LaunchConfiguration", "PathJoinSubstitution"),
    "launch_ros": (),
    "launch_ros.actions": ("LifecycleNode", "Node"),
    "launch_ros.parameter_descriptions": ("ParameterValue",),
    "launch_ros.substitutions": ("FindPackageShare",),
}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Launches a file with arguments; returns the declared names and the node's parameters, files first."""
    for name, members in NAMES.items():
        module = ModuleType(name)
        for member in members:
            setattr(module, member, type(member, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, name, module)

    def launch(file: str = "point.launch.py", **given: Any) -> Any:
        spec = importlib.util.spec_from_file_location("launched", LAUNCH / file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        (entities,) = module.generate_launch_description().arguments
        declared = {
            e.arguments[0]: e.options["default_value"]
            for e in entities
            if type(e).__name__ == "DeclareLaunchArgument"
        }
        unknown = given.keys() - declared.keys()
        assert not unknown, f"ros2 launch passes over {unknown} without a word"
        (function,) = (e for e in entities if type(e).__name__ == "OpaqueFunction")
        (node,) = function.options["function"]({**declared, **given})
        values = {}
        for part in node.options["parameters"][1:]:
            for name, value in part.items():
                typed = type(value).__name__ == "ParameterValue"
                assert typed == (not isinstance(value, bool)), "a string would be read as YAML"
                values[name] = value.arguments[0] if typed else value
        return declared, node.options["parameters"][0], values, node

    return launch


def test_a_parameter_file_is_left_alone(launched: Any) -> None:
    _, file, values, _ = launched(params_file="mine.yaml")
    assert (file, values) == ("mine.yaml", {})


def test_arguments_that_are_given_go_before_the_file(launched: Any) -> None:
    _, file, values, _ = launched(params_file="mine.yaml", target_frame="on", use_sim_time="true")
    assert file == "mine.yaml"
    assert values == {"target_frame": "on", "use_sim_time": True}


def test_without_a_file_the_topics_are_those_of_todays_realsense(launched: Any) -> None:
    _, _, values, _ = launched()
    assert values == {
        "camera.image_topic": "/camera/camera/color/image_raw",
        "camera.info_topic": "/camera/camera/color/camera_info",
        "camera.depth_topic": "/camera/camera/aligned_depth_to_color/image_raw",
    }
    _, _, values, _ = launched(camera_ns="/arm/wrist/", depth_topic="none")
    assert values["camera.image_topic"] == "/arm/wrist/color/image_raw"
    assert values["camera.depth_topic"] == ""


def test_another_cameras_image_gets_no_depth_of_a_realsense(launched: Any) -> None:
    _, _, values, _ = launched(image_topic="/zed/left/image")
    assert values == {"camera.image_topic": "/zed/left/image"}


@pytest.mark.parametrize("above", ["/robot1", "robot1", "/robot1/"])
def test_transforms_below_a_namespace(launched: Any, above: Any) -> None:
    _, _, values, node = launched(params_file="m.yaml", tf_namespace=above, namespace="robot1")
    assert values == {"tf_topic": "/robot1/tf", "tf_static_topic": "/robot1/tf_static"}
    assert node.options["namespace"] == "robot1"


@pytest.mark.parametrize(("word", "truth"), [("True", True), ("off", False), ("ture", None)])
def test_the_time_of_a_simulation_is_asked_for_in_words_that_are_known(
    launched: Any, word: Any, truth: Any
) -> None:
    if truth is None:
        with pytest.raises(ValueError, match="use_sim_time: expected true or false, got 'ture'"):
            launched(use_sim_time=word)
    else:
        assert launched(use_sim_time=word)[2]["use_sim_time"] is truth


def test_every_argument_sets_a_parameter_that_exists(launched: Any) -> None:
    given = {
        "server_endpoint": "tcp://gpu:5555", "target_frame": "map", "camera_ns": "/c", "image_topic": "/i",
        "info_topic": "/j", "depth_topic": "/d", "tf_namespace": "/r", "use_sim_time": "false",
    }  # fmt: skip
    declared, _, values, _ = launched(**given)
    assert values.keys() - {"use_sim_time"} <= defaults().keys()
    assert values["use_sim_time"] is False
    assert set(declared) == {*given, "namespace", "params_file"}
    assert not any(declared.values()), "a default would go before the parameter file"


def test_the_files_and_the_page_name_only_arguments_that_exist(launched: Any) -> None:
    import re

    declared, *_ = launched()
    page = (LAUNCH.parents[3] / "docs" / "robots.md").read_text()
    texts = [page, *(p.read_text() for p in LAUNCH.glob("*.launch.py"))]
    named = {n for text in texts for n in re.findall(r"\b(\w+):=", text)}
    assert named - {"__node"} <= set(declared)


def test_the_client_takes_what_ros2_run_and_launch_files_add(ros: Any) -> None:
    from molmo_point_ros.point_client import parse

    given = ["the red mug", "--ros-args", "-r", "__node:=asker", "-p", "use_sim_time:=true"]
    assert parse(given).query == "the red mug"
    assert parse([*given, "--", "--frame", "odom"]).frame == "odom"
    assert parse(["--ros-args", "-r", "a:=b", "--", "mug", "--ros-args"]).query == "mug"
    with pytest.raises(SystemExit):
        parse(["mug", "--nonsense"])
