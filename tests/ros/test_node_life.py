"""The life of the node: transitions, parameters, a server that goes, its client and its executable; fake and real rclpy."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from molmo_robot.codes import Code
from node_robot import CAMERA
from robot_scene import SECOND, find_ball
from ros_world import result, wait_for

from molmo_point.errors import ServerGone
from molmo_point.images import Array
from molmo_point.testing import FakePointer


@pytest.mark.parametrize(
    "values",
    [
        {"depth_strategy": "pixel", "depth_min_m": 9.0, "depth_max_m": 8.0},
        {"server_endpoint": "gpu"},
        {"depth_min_m": -1.0},
        {"request_timeout_s": "soon"},
        {"cameras": "front"},
        {"max_queue": 1.5},
    ],
)
def test_parameters_that_cannot_be_used_fail_the_configuration(robot: Any, values: Any) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn as Return

    robot = robot(**values)
    assert robot.node.trigger_configure() == Return.FAILURE
    assert robot.node.session is None


class Unreachable(FakePointer):
    """A server that is not there yet."""

    gone = True

    @property
    def model(self) -> Any:
        if self.gone:
            raise ServerGone("nobody answers at tcp://gpu:5555")
        return "fake"

    def stream(self, image: Array, query: str, **options: Any) -> Any:
        if self.gone:
            raise ServerGone("nobody answers at tcp://gpu:5555")
        return super().stream(image, query, **options)


def test_a_required_server_that_is_gone_fails_the_configuration_until_it_is_there(
    robot: Any,
) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn as Return

    pointer = Unreachable()
    robot = robot(pointer, require_server=True)
    assert robot.node.trigger_configure() == Return.FAILURE
    pointer.gone = False
    robot.up()


def test_a_server_that_is_gone_is_a_model_error_and_an_alarm_until_it_comes_back(
    robot: Any,
) -> None:
    pointer = Unreachable()
    pointer._answers = find_ball
    robot = robot(pointer).up()
    alarms = robot.listen("diagnostic_msgs/msg/DiagnosticArray", "/diagnostics")
    robot.show()
    response = result(robot.goal().get_result_async())
    assert (response.status, response.result.code) == (6, Code.MODEL_ERROR)
    assert "tcp://gpu:5555" in response.result.message
    wait_for(lambda: any(_level(m, "model server") == 2 for m in alarms))
    Unreachable.gone, pointer.gone = True, False
    assert result(robot.goal().get_result_async()).result.code == Code.SUCCEEDED
    alarms.clear()
    wait_for(lambda: any(_level(m, "model server") == 0 for m in alarms))


def _level(message: Any, part: Any) -> Any:
    status = next(s for s in message.status if s.name.endswith(part))
    return status.level[0] if isinstance(status.level, bytes) else status.level


def test_a_bug_while_connecting_is_an_error_and_the_node_can_be_configured_again(
    robot: Any,
) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn as Return

    attempts = []

    def connect(endpoint: Any) -> Any:
        attempts.append(endpoint)
        if len(attempts) == 1:
            raise ZeroDivisionError("a bug")
        return FakePointer(find_ball)

    robot = robot(connect=connect)
    assert robot.node.trigger_configure() == Return.ERROR
    robot.up()


def test_a_full_life_frees_everything_and_starts_again(robot: Any) -> None:
    robot = robot().up()
    assert robot.helper.count_publishers("/point_node/points") == 1
    robot.node.trigger_deactivate()
    robot.node.trigger_cleanup()
    assert robot.pointer.closed
    wait_for(lambda: robot.helper.count_publishers("/point_node/points") == 0)
    assert not robot.node._result_publishers
    robot.up()
    robot.show()
    assert result(robot.goal().get_result_async()).result.code == Code.SUCCEEDED


def test_live_parameters_change_while_it_runs_and_the_others_are_refused(robot: Any) -> None:
    from rclpy.parameter import Parameter

    robot = robot().up()

    def set_one(name: str, value: Any) -> Any:
        return robot.node.set_parameters([Parameter(name, value=value)])[0]

    assert set_one("target_frame", "base").successful
    assert robot.node.session.settings.target_frame == "base"
    refused = set_one("server_endpoint", "tcp://other:5555")
    assert not refused.successful
    assert "next configure" in refused.reason
    wrong = set_one("position_source", "guess")
    assert not wrong.successful
    assert "one of depth, plane, views" in wrong.reason
    robot.node.trigger_deactivate()
    assert set_one("server_endpoint", "tcp://other:5555").successful


def test_whole_numbers_are_taken_for_floats(robot: Any) -> None:
    from rclpy.parameter import Parameter

    robot = robot(request_timeout_s=5).up()
    assert robot.node.session.settings.request_timeout_s == 5.0
    assert robot.node.set_parameters([Parameter("tf_timeout_s", value=1)])[0].successful
    assert robot.node.session.settings.tf_timeout_s == 1.0


def test_another_camera_counts_from_the_next_configure_on(robot: Any) -> None:
    from rclpy.parameter import Parameter

    robot = robot().up()
    other = Parameter("cameras", value=["left", "right"])
    assert "next configure" in robot.node.set_parameters([other])[0].reason
    robot.node.trigger_deactivate()
    robot.node.trigger_cleanup()
    assert robot.node.set_parameters([other])[0].successful
    robot.up()
    assert [*robot.node.session.buffers] == ["left", "right"]
    assert robot.node.get_parameter("right.image_topic").value == "image_raw"


def test_every_parameter_of_the_table_is_declared(robot: Any) -> None:
    from molmo_robot.parameters import defaults

    robot = robot()
    for name, value in defaults().items():
        if name not in CAMERA:
            got = robot.node.get_parameter(name).value
            assert (list(got) if isinstance(value, list) else got) == value


def test_a_message_that_breaks_a_callback_is_noted_and_the_node_goes_on(robot: Any) -> None:
    robot = robot().up()
    robot.show()
    broken = robot.scene.tf(robot.stamp_ns)
    broken.transforms[0].transform.rotation.w = 0.0
    broken.transforms[0].transform.rotation.x = 0.0
    robot._tf.publish(broken)
    wait_for(lambda: "transforms" in robot.node.session.health.problems())
    robot.show()
    assert result(robot.goal().get_result_async()).result.code == Code.SUCCEEDED


def test_the_overlay_is_only_made_while_somebody_watches(robot: Any) -> None:
    robot = robot().up()
    robot.show()
    result(robot.goal().get_result_async())
    heard = robot.listen("sensor_msgs/msg/Image", "/point_node/overlay")
    assert not heard
    from molmo_point_ros.node import profile
    from molmo_point_ros.rclpy_types import message_class
    from molmo_robot.topics import SENSOR

    watched = []
    robot.helper.create_subscription(
        message_class("sensor_msgs/msg/Image"),
        "/point_node/overlay",
        watched.append,
        profile(SENSOR),
    )
    wait_for(lambda: robot.node._result_publishers["overlay"].get_subscription_count() > 0)
    result(robot.goal().get_result_async())
    wait_for(lambda: watched)
    assert (watched[0].encoding, watched[0].header.frame_id) == ("rgb8", "camera_optical")


def client_run(robot: Any, *arguments: Any) -> Any:
    """Run point_client against the robot's node, on a node of its own that it spins itself."""
    import rclpy
    from molmo_point_ros.point_client import ask, parse

    node = rclpy.create_node("point_client")
    try:
        return ask(node, parse(list(arguments)))
    finally:
        node.destroy_node()


def test_the_client_prints_what_was_found(robot: Any, capsys: pytest.CaptureFixture[str]) -> None:
    robot = robot().up()
    robot.show()
    assert client_run(robot, "ball") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.endswith("(2.000, 0.100, 0.400) m in odom")
    assert client_run(robot, "ball", "--pixels") == 0
    assert " m in " not in capsys.readouterr().out
    robot.pointer._answers = {}
    assert client_run(robot, "ball") == 3


def test_the_client_says_why_there_is_nothing(
    robot: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = robot()
    robot.node.trigger_configure()
    assert client_run(robot, "ball") == 1
    assert "is the node active?" in capsys.readouterr().err
    assert client_run(robot, "ball", "--node", "/nobody", "--timeout", "0.2") == 1
    assert "no node answers at /nobody" in capsys.readouterr().err


def test_a_clock_set_back_makes_the_session_forget(robot: Any) -> None:
    robot = robot().up()
    robot.show()
    clock = robot.node.get_clock()
    if not hasattr(clock, "set_ros_time"):
        pytest.skip("the real clock is set by /clock: see test_simulated_time")
    clock.set_ros_time(100 * SECOND)
    clock.set_ros_time(10 * SECOND)
    assert robot.node.session.health.jumps == 1
    assert robot.node.session.buffers["camera"].newest_stamp_ns() is None


def test_the_executable_starts_by_itself_and_stops_when_told(ros: Any) -> None:
    """autostart: configured, active and answering without a lifecycle manager."""
    from molmo_point_ros import point_node
    from rclpy.executors import MultiThreadedExecutor

    attempts, nodes = [], []

    def connect(settings: Any) -> Any:
        attempts.append(settings.server_endpoint)
        return FakePointer(find_ball)

    class Watched(point_node.PointNode):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            nodes.append(self)

    executors = []

    class Kept(MultiThreadedExecutor):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            executors.append(self)

    original = point_node.PointNode, point_node.MultiThreadedExecutor
    point_node.PointNode, point_node.MultiThreadedExecutor = Watched, Kept
    ros.try_shutdown()
    thread = threading.Thread(target=point_node.run, args=([],), kwargs={"connect": connect})
    try:
        thread.start()
        wait_for(lambda: nodes and nodes[0].session is not None)
        assert attempts == ["tcp://127.0.0.1:5555"]
    finally:
        wait_for(lambda: executors)
        executors[0].shutdown()
        thread.join(10)
        point_node.PointNode, point_node.MultiThreadedExecutor = original
        ros.init()
    assert not thread.is_alive()
