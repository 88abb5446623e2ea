"""What the node relies on in rclpy. These run unchanged against the fake and, where one is sourced, against the real one."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from ros_world import result, spinning, wait_for


def qos(reliable: bool = True, latched: bool = False, depth: int = 1) -> Any:
    from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def text(words: Any) -> Any:
    from std_msgs.msg import String

    return String(data=words)


def lifecycle_node(name: str, **transitions: Any) -> Any:
    """A lifecycle node whose callbacks return what is said here, or raise it."""
    from rclpy.lifecycle import LifecycleNode

    log = []

    def scripted(callback: Any) -> Any:
        def run(self, state: Any) -> Any:
            log.append(callback)
            wanted = transitions.get(callback)
            if isinstance(wanted, Exception):
                raise wanted
            base = getattr(LifecycleNode, callback)
            return wanted if wanted is not None else base(self, state)

        return run

    names = (
        "on_configure",
        "on_activate",
        "on_deactivate",
        "on_cleanup",
        "on_shutdown",
        "on_error",
    )
    node = type("Scripted", (LifecycleNode,), {n: scripted(n) for n in names})(name)
    return node, log


@pytest.mark.parametrize("reliable_publisher", [True, False])
@pytest.mark.parametrize("reliable_subscription", [True, False])
def test_a_reliable_subscription_hears_nothing_from_a_best_effort_publisher(
    ros: Any, reliable_publisher: Any, reliable_subscription: Any
) -> None:
    from std_msgs.msg import String

    talker, listener = ros.create_node("talker"), ros.create_node("listener")
    heard = []
    with spinning(talker, listener):
        publisher = talker.create_publisher(String, "/qos", qos(reliable_publisher))
        listener.create_subscription(
            String, "/qos", lambda m: heard.append(m.data), qos(reliable_subscription)
        )
        matches = reliable_publisher or not reliable_subscription
        if matches:
            wait_for(lambda: publisher.get_subscription_count() == 1)
        end = time.monotonic() + 0.3
        while time.monotonic() < end and not heard:
            publisher.publish(text("hello"))
            time.sleep(0.02)
    assert bool(heard) == matches


def test_a_late_subscriber_gets_the_last_message_of_a_latched_topic(ros: Any) -> None:
    from std_msgs.msg import String

    talker, listener = ros.create_node("talker"), ros.create_node("listener")
    heard = []
    with spinning(talker, listener):
        publisher = talker.create_publisher(String, "/latched", qos(latched=True))
        publisher.publish(text("first"))
        publisher.publish(text("last"))
        listener.create_subscription(
            String, "/latched", lambda m: heard.append(m.data), qos(latched=True)
        )
        wait_for(lambda: heard)
    assert heard == ["last"]


def test_private_names_lie_under_the_node(ros: Any) -> None:
    from std_msgs.msg import String

    node = ros.create_node("owner")
    heard = []
    with spinning(node):
        publisher = node.create_publisher(String, "~/points", qos(latched=True))
        node.create_subscription(
            String, "/owner/points", lambda m: heard.append(m.data), qos(latched=True)
        )
        publisher.publish(text("here"))
        wait_for(lambda: heard)


def test_a_lifecycle_publisher_is_silent_until_its_node_is_active(ros: Any) -> None:
    from std_msgs.msg import String

    node, _ = lifecycle_node("quiet")
    heard = []
    with spinning(node):
        publisher = node.create_lifecycle_publisher(String, "/managed", qos(latched=True))
        node.create_subscription(
            String, "/managed", lambda m: heard.append(m.data), qos(latched=True)
        )
        node.trigger_configure()
        publisher.publish(text("too early"))
        node.trigger_activate()
        wait_for(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(text("now"))
        wait_for(lambda: heard)
    assert heard == ["now"]


def test_a_transition_that_fails_leaves_the_node_where_it_was(ros: Any) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn as Return

    node, log = lifecycle_node("failing", on_configure=Return.FAILURE)
    with spinning(node):
        assert node.trigger_configure() == Return.FAILURE
        assert node.trigger_configure() == Return.FAILURE
    assert log[:2] == ["on_configure", "on_configure"]


def test_an_exception_in_a_transition_is_swallowed_and_leads_to_on_error(ros: Any) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn as Return

    node, log = lifecycle_node("raising", on_configure=ValueError("nobody sees this"))
    with spinning(node):
        assert node.trigger_configure() == Return.ERROR
    assert log[:2] == ["on_configure", "on_error"]


def test_a_transition_from_the_wrong_state_is_an_error(ros: Any) -> None:
    node, _ = lifecycle_node("impatient")
    with spinning(node), pytest.raises(RuntimeError):
        node.trigger_activate()


def test_a_reentrant_group_runs_callbacks_side_by_side_and_an_exclusive_one_does_not(
    ros: Any,
) -> None:
    from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
    from std_srvs.srv import SetBool

    node = ros.create_node("groups")
    running, most = [0, 0], [0, 0]
    lock = threading.Lock()

    def serve(which: Any) -> Any:
        def answer(request: Any, response: Any) -> Any:
            with lock:
                running[which] += 1
                most[which] = max(most[which], running[which])
            time.sleep(0.1)
            with lock:
                running[which] -= 1
            response.success = True
            return response

        return answer

    groups = (ReentrantCallbackGroup(), MutuallyExclusiveCallbackGroup())
    with spinning(node):
        clients = []
        for which, group in enumerate(groups):
            node.create_service(SetBool, f"/serve{which}", serve(which), callback_group=group)
            client = node.create_client(
                SetBool, f"/serve{which}", callback_group=ReentrantCallbackGroup()
            )
            assert client.wait_for_service(timeout_sec=5)
            clients.append(client)
        for client in clients:
            futures = [client.call_async(SetBool.Request(data=True)) for _ in range(3)]
            assert all(result(future).success for future in futures)
    assert most[0] > 1
    assert most[1] == 1


def test_an_exception_in_a_callback_comes_out_of_spin_which_can_go_on(ros: Any) -> None:
    from rclpy.executors import MultiThreadedExecutor
    from std_msgs.msg import String

    node, heard, failures = ros.create_node("clumsy"), [], []

    def stumble(message: Any) -> None:
        heard.append(message.data)
        if len(heard) == 1:
            raise ZeroDivisionError("a bug")

    publisher = node.create_publisher(String, "/clumsy", qos())
    node.create_subscription(String, "/clumsy", stumble, qos())
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ZeroDivisionError as error:
            failures.append(error)
            executor.spin()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    wait_for(lambda: publisher.get_subscription_count() == 1)
    end = time.monotonic() + 10
    while len(heard) < 3 and time.monotonic() < end:
        publisher.publish(text("hello"))
        time.sleep(0.05)
    executor.shutdown()
    thread.join(10)
    node.destroy_node()
    assert len(failures) == 1
    assert len(heard) >= 3


def test_a_lifecycle_publisher_is_forgotten_with_its_own_call(ros: Any) -> None:
    """`destroy_publisher` would leave it among the entities that every later activation goes through."""
    from std_msgs.msg import String

    node, _ = lifecycle_node("quiet")
    with spinning(node):
        publisher = node.create_lifecycle_publisher(String, "/managed", qos())
        wait_for(lambda: node.count_publishers("/managed") == 1)
        node.destroy_lifecycle_publisher(publisher)
        wait_for(lambda: node.count_publishers("/managed") == 0)
        node.trigger_configure()
        node.trigger_activate()


def test_an_action_streams_feedback_and_gives_its_result(ros: Any) -> None:
    from molmo_point_msgs.action import Point
    from rclpy.action import ActionClient, ActionServer
    from rclpy.callback_groups import ReentrantCallbackGroup

    node = ros.create_node("actor")

    def execute(handle: Any) -> Any:
        for position in range(3):
            handle.publish_feedback(Point.Feedback(queue_position=position))
            time.sleep(0.05)
        handle.succeed()
        return Point.Result(code=1, message=handle.request.query)

    seen = []
    with spinning(node):
        server = ActionServer(
            node, Point, "~/point", execute, callback_group=ReentrantCallbackGroup()
        )
        client = ActionClient(node, Point, "~/point")
        assert client.wait_for_server(timeout_sec=5)
        goal = result(
            client.send_goal_async(
                Point.Goal(query="mug"),
                feedback_callback=lambda m: seen.append(m.feedback.queue_position),
            )
        )
        assert goal.accepted
        answer = result(goal.get_result_async())
        wait_for(lambda: len(seen) == 3)
        server.destroy()
        client.destroy()
    assert (answer.status, answer.result.code, answer.result.message) == (4, 1, "mug")
    assert seen == [0, 1, 2]


def test_a_cancelled_action_sees_the_request_and_ends_as_cancelled(ros: Any) -> None:
    from molmo_point_msgs.action import Point
    from rclpy.action import ActionClient, ActionServer, CancelResponse
    from rclpy.callback_groups import ReentrantCallbackGroup

    node = ros.create_node("actor")
    begun = threading.Event()

    def execute(handle: Any) -> Any:
        begun.set()
        end = time.monotonic() + 10
        while not handle.is_cancel_requested and time.monotonic() < end:
            time.sleep(0.01)
        handle.canceled()
        return Point.Result(code=7)

    with spinning(node):
        server = ActionServer(
            node,
            Point,
            "~/point",
            execute,
            callback_group=ReentrantCallbackGroup(),
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
        )
        client = ActionClient(node, Point, "~/point")
        assert client.wait_for_server(timeout_sec=5)
        goal = result(client.send_goal_async(Point.Goal(query="mug")))
        assert begun.wait(5)
        result(goal.cancel_goal_async())
        answer = result(goal.get_result_async())
        server.destroy()
        client.destroy()
    assert (answer.status, answer.result.code) == (5, 7)


def test_a_rejected_goal_is_not_accepted(ros: Any) -> None:
    from molmo_point_msgs.action import Point
    from rclpy.action import ActionClient, ActionServer, GoalResponse

    node = ros.create_node("actor")
    with spinning(node):
        server = ActionServer(
            node,
            Point,
            "~/point",
            lambda handle: None,
            goal_callback=lambda g: GoalResponse.REJECT,
        )
        client = ActionClient(node, Point, "~/point")
        assert client.wait_for_server(timeout_sec=5)
        assert not result(client.send_goal_async(Point.Goal(query="mug"))).accepted
        server.destroy()
        client.destroy()


def test_message_classes_check_their_fields(ros: Any) -> None:
    from geometry_msgs.msg import Point
    from sensor_msgs.msg import Image

    assert Point(x=1.0).y == 0.0
    with pytest.raises(AssertionError):
        Point(x="one")
    with pytest.raises(AssertionError):
        Point(w=1.0)
    assert Image.get_fields_and_field_types()["data"] == "sequence<uint8>"
