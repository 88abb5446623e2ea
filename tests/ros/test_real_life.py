"""A node's life as other processes of a real ROS 2 see it: lifecycle and parameter services, its executable, its launch file."""

from __future__ import annotations

import time
from typing import Any

import pytest
from molmo_robot.codes import Code
from robot_scene import find_ball
from ros_world import EXECUTABLE, result, running, spinning, wait_for

from molmo_point.testing import FakePointer

pytestmark = [pytest.mark.ros2, pytest.mark.parametrize("ros", ["real"], indirect=True)]
pytest.importorskip("rclpy", reason="needs a sourced ROS 2 with the built workspace")


def change(robot: Any, label: str = "", number: int = 0) -> Any:
    """Ask for a transition by its name or its number, as lifecycle managers do; returns whether it succeeded."""
    from lifecycle_msgs.srv import ChangeState

    request = ChangeState.Request()
    request.transition.label, request.transition.id = label, number
    return robot.call(ChangeState, "/point_node/change_state", request).success


def state(robot: Any) -> Any:
    """The node's state, as `ros2 lifecycle get` shows it."""
    from lifecycle_msgs.srv import GetState

    answer = robot.call(GetState, "/point_node/get_state", GetState.Request())
    return answer.current_state.label


def set_parameters(robot: Any, **values: Any) -> Any:
    """Set parameters over the service; returns the reasons of those that were refused, by name."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    request = SetParameters.Request(
        parameters=[Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
    )
    results = robot.call(SetParameters, "/point_node/set_parameters", request).results
    return {n: r.reason for n, r in zip(values, results, strict=True) if not r.successful}


def test_a_lifecycle_manager_takes_the_node_through_its_life(robot: Any) -> None:
    robot = robot()
    assert state(robot) == "unconfigured"
    for label, becomes in (
        ("configure", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
        ("configure", "inactive"),
        ("shutdown", "finalized"),
    ):
        assert change(robot, label), label
        assert state(robot) == becomes
    assert robot.pointer.closed


def test_a_configuration_that_fails_leaves_the_node_unconfigured_until_it_is_put_right(
    robot: Any,
) -> None:
    robot = robot(server_endpoint="gpu")
    assert not change(robot, "configure")
    assert state(robot) == "unconfigured"
    assert not set_parameters(robot, server_endpoint="tcp://gpu:5555")
    assert change(robot, "configure")
    assert change(robot, "activate")
    robot.show()
    assert result(robot.goal().get_result_async()).result.code == Code.SUCCEEDED


def test_a_bug_in_a_transition_leads_through_error_processing_and_back(robot: Any) -> None:
    calls = []

    def connect(settings: Any) -> Any:
        calls.append(settings)
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")
        return FakePointer(find_ball)

    robot = robot(connect=connect)
    assert not change(robot, "configure")
    assert state(robot) == "unconfigured"
    assert change(robot, "configure")


def test_an_activation_that_fails_leaves_nothing_behind(
    robot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molmo_point_ros import node

    robot = robot()
    assert change(robot, "configure")

    def broken(session: Any, continuous: Any) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(node, "inputs", broken)
        assert not change(robot, "activate")
    assert state(robot) == "unconfigured"
    assert robot.node.session is None
    assert not robot.node._result_publishers
    robot.up()
    robot.show()
    assert result(robot.goal().get_result_async()).result.code == Code.SUCCEEDED


def test_parameters_are_described_with_their_ranges_and_choices(robot: Any) -> None:
    from molmo_robot.parameters import defaults
    from rcl_interfaces.srv import DescribeParameters, ListParameters

    robot = robot()
    names = robot.call(
        ListParameters, "/point_node/list_parameters", ListParameters.Request()
    ).result.names
    assert set(defaults()) <= set(names)
    wanted = DescribeParameters.Request(names=["max_queue", "depth_strategy", "depth_min_m"])
    queue, strategy, low = robot.call(
        DescribeParameters, "/point_node/describe_parameters", wanted
    ).descriptors
    assert (queue.integer_range[0].from_value, queue.integer_range[0].to_value) == (1, 64)
    assert strategy.additional_constraints == "one of pixel, median, cluster, plane"
    assert low.floating_point_range[0].to_value == 1000.0


def test_parameters_are_set_and_refused_over_the_service(robot: Any) -> None:
    robot = robot().up()
    assert not set_parameters(robot, target_frame="base", depth_min_m=0.2)
    assert robot.node.session.settings.target_frame == "base"
    assert robot.node.session.settings.depth_min_m == 0.2
    refused = set_parameters(
        robot,
        depth_max_m=2000.0,
        max_queue=0,
        position_source="guess",
        server_endpoint="tcp://other:5555",
        request_timeout_s="soon",
    )
    assert "out of range" in refused["depth_max_m"]
    assert "out of range" in refused["max_queue"]
    assert "one of depth, plane, views" in refused["position_source"]
    assert "next configure" in refused["server_endpoint"]
    assert "expected float" in refused["request_timeout_s"]
    assert not set_parameters(robot, request_timeout_s=5)
    settings = robot.node.session.settings
    assert (settings.depth_max_m, settings.max_queue, settings.request_timeout_s) == (10.0, 4, 5.0)


def test_two_parameters_that_only_fit_together_are_set_at_once(robot: Any) -> None:
    from rcl_interfaces.srv import SetParametersAtomically
    from rclpy.parameter import Parameter

    robot = robot().up()
    assert "depth_min_m must be less" in set_parameters(robot, depth_min_m=20.0)["depth_min_m"]
    both = [Parameter(n, value=v) for n, v in (("depth_min_m", 20.0), ("depth_max_m", 30.0))]
    request = SetParametersAtomically.Request(parameters=[p.to_parameter_msg() for p in both])
    answer = robot.call(
        SetParametersAtomically, "/point_node/set_parameters_atomically", request
    ).result
    assert answer.successful, answer.reason
    settings = robot.node.session.settings
    assert (settings.depth_min_m, settings.depth_max_m) == (20.0, 30.0)


def test_a_node_is_activated_and_deactivated_again_and_again_while_images_come(robot: Any) -> None:
    robot = robot().up()
    robot.show()
    for _ in range(30):
        assert change(robot, "deactivate")
        robot._image.publish(robot.scene.image(robot.stamp_ns))
        robot._tf.publish(robot.scene.tf(robot.stamp_ns))
        assert change(robot, "activate")
    robot.show()
    assert result(robot.goal().get_result_async()).result.code == Code.SUCCEEDED


def test_the_executable_waits_for_its_server_and_ends_with_ctrl_c(ros: Any) -> None:
    with running(*EXECUTABLE, "-p", "server_endpoint:=tcp://127.0.0.1:9") as (process, output):
        wait_for(lambda: "requests are MODEL_ERROR until it answers" in output(), 30, "a warning")
    assert process.returncode == 0, output()
    assert "Traceback" not in output()


@pytest.mark.parametrize(
    "wrong",
    ["depth_min_m:=-1.0", "depth_strategy:=guess", "request_timeout_s:=soon", "max_queue:=1.5"],
)
def test_the_executable_names_a_parameter_that_cannot_be(ros: Any, wrong: Any) -> None:
    name = wrong.partition(":")[0]
    with running(*EXECUTABLE, "-p", wrong) as (_, output):
        wait_for(lambda: name in output(), 30, "a complaint")
        time.sleep(0.5)
    assert "Traceback" not in output()


def test_whole_numbers_are_taken_for_floats_at_the_start(ros: Any) -> None:
    with running(*EXECUTABLE, "-p", "request_timeout_s:=5", "-p", "depth_max_m:=3") as (_, output):
        wait_for(lambda: "until it answers" in output(), 30, "the node")


def test_a_transition_asked_for_by_number_from_the_wrong_state_does_not_end_the_node(
    ros: Any,
) -> None:
    """rclpy raises inside its own service: the exception reaches `spin`."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    helper = ros.create_node("manager")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    # A name of its own: the graph may still show the node that has just ended.
    command = (*EXECUTABLE, "-p", "autostart:=false", "-r", "__node:=hasty_node")
    with spinning(helper), running(*command) as (process, output):
        change_state = helper.create_client(ChangeState, "/hasty_node/change_state")
        get_state = helper.create_client(GetState, "/hasty_node/get_state")
        assert change_state.wait_for_service(timeout_sec=30)
        assert get_state.wait_for_service(timeout_sec=30)
        change_state.call_async(request)
        wait_for(lambda: "transition" in output().lower(), 20, "a complaint")
        answer = result(get_state.call_async(GetState.Request()))
        assert answer.current_state.label == "unconfigured"
    assert process.returncode == 0, output()


def test_the_launch_file_starts_the_node_with_its_arguments(ros: Any) -> None:
    """Installed by colcon; without that there is nothing to launch."""
    from rcl_interfaces.srv import GetParameters

    pytest.importorskip("launch_ros", reason="needs launch_ros")
    index = pytest.importorskip("ament_index_python", reason="needs ament_index_python")
    try:
        index.get_package_share_directory("molmo_point_ros")
    except index.PackageNotFoundError:
        pytest.skip("needs molmo_point_ros installed by colcon")
    helper = ros.create_node("asker")
    command = ("ros2", "launch", "molmo_point_ros", "point.launch.py", "namespace:=left")
    arguments = ("target_frame:=on", "depth_topic:=none", "server_endpoint:=tcp://127.0.0.1:9")
    with spinning(helper), running(*command, *arguments) as (process, output):
        client = helper.create_client(GetParameters, "/left/point_node/get_parameters")
        assert client.wait_for_service(timeout_sec=60), output()
        names = ["target_frame", "camera.depth_topic", "use_sim_time", "depth_max_m"]
        values = result(client.call_async(GetParameters.Request(names=names))).values
        assert [values[0].string_value, values[1].string_value] == ["on", ""]
        assert (values[2].bool_value, values[3].double_value) == (False, 10.0)
        wait_for(lambda: "until it answers" in output(), 30, "the configured node")
    assert process.returncode == 0, output()
    assert "Traceback" not in output()
