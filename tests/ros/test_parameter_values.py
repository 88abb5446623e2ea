"""Parameters as parameter files, `-p`, `ros2 param set` and `--set` type them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from molmo_robot.cli.options import parameters_of, transform_topics, with_settings
from molmo_robot.errors import ParameterError
from molmo_robot.settings import Settings

from molmo_point.errors import UsageError


@pytest.mark.parametrize("text", ["true", "True", "yes", "on", "1", "TRUE"])
def test_a_bool_on_the_command_line(text: Any) -> None:
    assert Settings.of(parameters_of([f"camera.rectified={text}"])).camera("").rectified is True


@pytest.mark.parametrize(
    ("option", "read"),
    [
        ("camera.depth_registered=true", lambda s: s.camera("").depth_registered == "true"),
        ("camera.depth_registered=True", lambda s: s.camera("").depth_registered == "true"),
        ("camera.depth_registered=auto", lambda s: s.camera("").depth_registered == "auto"),
        ("follow=false", lambda s: s.follow is False),
        ("query=7", lambda s: s.query == "7"),
        ("query=true", lambda s: s.query == "true"),
        ("query=null", lambda s: s.query == "null"),
        ('query="red mug"', lambda s: s.query == "red mug"),
        ("query=a=b", lambda s: s.query == "a=b"),
        ("target_frame=on", lambda s: s.target_frame == "on"),
        ("server_key=0123", lambda s: s.server_key == "0123"),
        ("plane_frame=", lambda s: s.plane_frame == ""),
        ("plane_normal=[0,0,1]", lambda s: s.plane_normal == (0.0, 0.0, 1.0)),
        ("plane_normal=0, 1,0", lambda s: s.plane_normal == (0.0, 1.0, 0.0)),
        ("cameras=front", lambda s: [*s.cameras] == ["front"]),
        ("cameras=front, rear", lambda s: [*s.cameras] == ["front", "rear"]),
        ('cameras=["front"]', lambda s: [*s.cameras] == ["front"]),
        ("camera.rotation=90.0", lambda s: s.camera("").rotation == 90),
        ("depth_max_m=5", lambda s: s.depth_max_m == 5.0),
        ("camera.depth_scale=1e-3", lambda s: s.camera("").depth_scale == 0.001),
    ],
)
def test_the_command_line_is_typed_by_the_parameter(option: Any, read: Any) -> None:
    assert read(Settings.of(parameters_of([option])))


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("camera.depth_registered: true", lambda s: s.camera("").depth_registered == "true"),
        ("camera.depth_registered: auto", lambda s: s.camera("").depth_registered == "auto"),
        ("query: 7", lambda s: s.query == "7"),
        ("query: 7.5", lambda s: s.query == "7.5"),
        ("depth_max_m: '5'", lambda s: s.depth_max_m == 5.0),
        ("camera.rotation: 90.0", lambda s: s.camera("").rotation == 90),
        ("plane_normal: [0, 0, 1]", lambda s: s.plane_normal == (0.0, 0.0, 1.0)),
        ("camera.rectified: 'true'", lambda s: s.camera("").rectified is True),
    ],
)
def test_a_parameter_file_is_typed_by_the_parameter(line: Any, read: Any) -> None:
    assert read(Settings.of(yaml.safe_load(line)))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"target_frame": True}, "target_frame: expected str, got True; YAML and ROS read"),
        ({"cameras": "front"}, "cameras: expected a list"),
        ({"max_queue": 1.5}, "max_queue: expected int, got 1.5"),
        ({"depth_max_m": "far"}, "depth_max_m: expected float, got 'far'"),
        ({"depth_max_m": True}, "depth_max_m: expected float, got True"),
        ({"follow": "maybe"}, "follow: expected bool, got 'maybe'"),
        ({"follow": 1}, "follow: expected bool, got 1"),
        ({"depth_max_m": "nan"}, "depth_max_m: expected 0.01 to 1000"),
        ({"max_queue": float("inf")}, "max_queue: expected int, got inf"),
        ({"plane_normal": ["up", 0, 1]}, "plane_normal: expected 3 finite numbers"),
        ({"tf_topic": ""}, "tf_topic: expected a topic"),
        ({"tf_topic": "/tf "}, "tf_topic: expected a topic without blanks, got '/tf '"),
        ({"camera.depth_topic": "a b"}, "camera.depth_topic: expected a topic without blanks"),
        ({"tf_topic": "/robot1/tf/"}, "tf_topic: expected a topic without an empty part"),
        ({"camera.image_topic": "//image"}, "image_topic: expected a topic without an empty part"),
        ({"camera.depth_registered": "perhaps"}, "one of auto, true, false, got 'perhaps'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(values: Any, words: Any) -> None:
    with pytest.raises(ParameterError, match=words):
        Settings.of(values)


@given(st.text(max_size=20))
def test_any_query_of_the_command_line_is_that_query(text: Any) -> None:
    got = Settings.of(parameters_of([f"query={text}"])).query
    assert got == text or (text.strip().startswith('"') and text.strip().endswith('"'))


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(ParameterError, match="there is no parameter 'prefix'"):
        Settings.of(parameters_of(["prefix=/x"]))


@pytest.mark.parametrize("namespace", ["/robot1", "robot1", "/robot1/"])
def test_transforms_below_a_namespace(namespace: Any) -> None:
    assert transform_topics(namespace) == {
        "tf_topic": "/robot1/tf",
        "tf_static_topic": "/robot1/tf_static",
    }
    assert transform_topics("")["tf_topic"] == "/tf"


def test_a_running_node_takes_a_bool_for_the_word(robot: Any) -> None:
    from rclpy.parameter import Parameter

    robot = robot(**{"camera.depth_registered": True}).up()
    assert robot.node.session.settings.camera("").depth_registered == "true"
    robot.node.trigger_deactivate()
    robot.node.trigger_cleanup()
    wanted = Parameter("camera.depth_registered", value=False)
    refused = robot.node.set_parameters([wanted])[0]
    assert "needs its own camera_info" in refused.reason
    assert robot.node.set_parameters([Parameter("camera.depth_registered", value="auto")])[
        0
    ].successful


def test_an_option_and_a_setting_of_one_parameter_agree() -> None:
    """The option was lost without a word where --set gave another value."""
    options: dict[str, object] = {"target_frame": "odom", "camera.depth_scale": 0.0}
    with pytest.raises(UsageError, match=r"--set target_frame: expected the value 'odom' .*'map'"):
        with_settings(options, ["target_frame=map"])
    with pytest.raises(UsageError, match="--set query: expected one value, got 'a' and 'b'"):
        with_settings(options, ["query=a", "query=b"])
    options["camera.depth_scale"] = 0.01
    with pytest.raises(UsageError, match=r"--set camera\.depth_scale: "):
        with_settings(options, ["camera.depth_scale=0.02"])
    same = with_settings(
        options, ["target_frame=odom", "camera.depth_scale=1e-2", "tf_topic=/a/tf"]
    )
    settings = Settings.of(same)
    assert (settings.target_frame, settings.camera("").depth_scale) == ("odom", 0.01)
    assert settings.tf_topic == "/a/tf"
