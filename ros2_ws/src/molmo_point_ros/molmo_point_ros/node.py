"""`point_node`: the lifecycle node. Parameters, topics and lifecycle; the work is done by a session of `molmo_robot`.

The model runs elsewhere (`molmo-point serve`); this process holds rclpy, numpy and messages only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from molmo_robot.continuous_pointing import ContinuousPointing, MakeTracker
from molmo_robot.diagnostics import diagnostics
from molmo_robot.image_groups import GroupOutcome
from molmo_robot.images_questions import ImagesQuestions
from molmo_robot.messages.image_groups import images_answer
from molmo_robot.model_call import StreamingPointer
from molmo_robot.qos import Qos
from molmo_robot.ros_types import Message
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.topics import IMAGES_ANSWERS, PUBLISHED, Input, inputs, results
from molmo_robot.types import Answer, Request
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from molmo_point.errors import PointError, ServiceError
from molmo_point_ros.action_server import PointServers
from molmo_point_ros.images_servers import ImagesServers
from molmo_point_ros.rclpy_types import make, message_class, quiet_about_qos
from molmo_point_ros.ros_parameters import NodeParameters

DIAGNOSTICS_PERIOD_S = 1.0


class PointNode(LifecycleNode):  # type: ignore[misc]
    """Points at what is asked for in the images of its cameras.

    Args:
        connect: Opens the pointer that the settings name.
        make_tracker: Makes what carries points from frame to frame; None publishes the model's answers only.
        name: Node name.
        options: Passed to rclpy's node (parameter overrides, namespace).
    """

    def __init__(
        self,
        connect: Callable[[Settings], StreamingPointer],
        make_tracker: MakeTracker | None = None,
        name: str = "point_node",
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self._connect = connect
        self._make_tracker = make_tracker
        self.node_parameters = NodeParameters(self, self._settings_changed)
        self.requests_group = ReentrantCallbackGroup()
        self._sensors_group = MutuallyExclusiveCallbackGroup()
        self._pointer: StreamingPointer | None = None
        self._result_publishers: dict[str, Any] = {}
        self._diagnostics: Any = None
        self._servers: tuple[PointServers | ImagesServers, ...] = ()
        self._subscriptions_made: list[object] = []
        self._timer: object = None
        self._jump: Any = None
        self.session: Session | None = None
        self.continuous: ContinuousPointing | None = None

    def on_configure(self, state: object) -> TransitionCallbackReturn:
        """Check the parameters, connect, advertise."""
        return self._transition("configure", self._configure)

    def on_activate(self, state: object) -> TransitionCallbackReturn:
        """Subscribe and accept requests."""
        done = self._transition("activate", self._activate)
        if done != TransitionCallbackReturn.SUCCESS:
            self._deactivate()
            return done
        return super().on_activate(state)

    def on_deactivate(self, state: object) -> TransitionCallbackReturn:
        """Cancel what is under way, reject what comes."""
        done = self._transition("deactivate", self._deactivate)
        super().on_deactivate(state)
        return done

    def on_cleanup(self, state: object) -> TransitionCallbackReturn:
        """Disconnect and free everything."""
        return self._transition("clean up", self.free)

    def on_shutdown(self, state: object) -> TransitionCallbackReturn:
        """As deactivate and clean up, from any state."""
        return self._transition("shut down", self.free)

    def on_error(self, state: object) -> TransitionCallbackReturn:
        """Free everything, so that the node can be configured again."""
        return self._transition("recover", self.free)

    def _transition(self, name: str, work: Callable[[], None]) -> TransitionCallbackReturn:
        """Run one transition; rclpy swallows exceptions of these callbacks, so they are logged here."""
        try:
            work()
            return TransitionCallbackReturn.SUCCESS
        except PointError as error:
            self.get_logger().error(f"cannot {name}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.get_logger().fatal(f"cannot {name}: {type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR

    def _configure(self) -> None:
        settings = self.node_parameters.settings()
        pointer = self._connect(settings)
        try:
            self.get_logger().info(f"{settings.server_endpoint} answers with {pointer.model}")
        except ServiceError as error:
            if settings.require_server:
                pointer.close()
                raise
            self.get_logger().warning(f"{error}; requests are MODEL_ERROR until it answers")
        self._pointer = pointer
        for output in PUBLISHED:
            self._result_publishers[output.name] = self.create_lifecycle_publisher(
                message_class(output.type_name), f"~/{output.name}", profile(output.qos)
            )
        self._diagnostics = self.create_lifecycle_publisher(
            message_class("diagnostic_msgs/msg/DiagnosticArray"), "/diagnostics", 10
        )
        self._servers = (PointServers(self), ImagesServers(self))

    def _activate(self) -> None:
        assert self._pointer is not None
        settings = self.node_parameters.settings()
        clock = self.get_clock()
        session = Session(settings, self._pointer, clock=lambda: int(clock.now().nanoseconds))
        continuous = ContinuousPointing(
            session, self.publish, self._make_tracker if settings.follow else None
        )
        images = ImagesQuestions(session, self.publish_images)
        self._subscriptions_made = [
            self._subscribe(i) for i in inputs(session, continuous, images.offer)
        ]
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True
        )
        self._jump = clock.create_jump_callback(
            threshold, post_callback=lambda jump: session.on_time_jump()
        )
        self._timer = self.create_timer(
            DIAGNOSTICS_PERIOD_S, self._diagnose, callback_group=self.requests_group
        )
        self.node_parameters.running = True
        self.session, self.continuous = session, continuous
        if settings.query:
            continuous.set(Request(settings.query), settings.max_rate_hz)

    def _deactivate(self) -> None:
        self.node_parameters.running = False
        session, continuous = self.session, self.continuous
        self.session = self.continuous = None
        if session is not None:
            session.close()
        if continuous is not None:
            continuous.stop()
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        if self._jump is not None:
            self._jump.unregister()
            self._jump = None
        for subscription in self._subscriptions_made:
            self.destroy_subscription(subscription)
        self._subscriptions_made = []

    def free(self) -> None:
        """Free everything; also where the middleware is gone and no transition is possible any more."""
        self._deactivate()
        for servers in self._servers:
            servers.destroy()
        self._servers = ()
        for publisher in (*self._result_publishers.values(), self._diagnostics):
            if publisher is not None:
                self.destroy_lifecycle_publisher(publisher)
        self._result_publishers, self._diagnostics = {}, None
        if self._pointer is not None:
            self._pointer.close()
            self._pointer = None

    def _subscribe(self, source: Input) -> object:
        def receive(message: Message) -> None:
            try:
                source.receive(message)
            except Exception as error:
                # A bad message must not end the executor; it is named once and counted.
                session = self.session
                words = f"{source.topic}: {type(error).__name__}: {error}"
                if session is not None and session.health.note(source.topic, words):
                    self.get_logger().warning(words)

        beside = source.role == "info" and source.qos.latched
        return self.create_subscription(
            message_class(source.type_name),
            source.topic,
            receive,
            profile(source.qos),
            callback_group=self._sensors_group,
            **(quiet_about_qos() if beside else {}),
        )

    def publish(self, answer: Answer) -> None:
        """Publish an answer on every result topic; called from any thread."""
        settings = self.session.settings if self.session else self.node_parameters.settings()

        def watched(name: str) -> bool:
            publisher = self._result_publishers.get(name)
            return publisher is not None and publisher.get_subscription_count() > 0

        for output, message in results(make, answer, settings, watched=watched):
            publisher = self._result_publishers.get(output.name)
            if publisher is not None:
                publisher.publish(message)

    def publish_images(self, outcome: GroupOutcome) -> None:
        """Publish how a question about several images ended; called from any thread."""
        publisher = self._result_publishers.get(IMAGES_ANSWERS.name)
        if publisher is not None:
            publisher.publish(images_answer(make, outcome))

    def _diagnose(self) -> None:
        session = self.session
        if session is not None and self._diagnostics is not None:
            self._diagnostics.publish(diagnostics(make, session, self.get_name()))

    def _settings_changed(self, settings: Settings) -> None:
        if self.session is not None:
            self.session.settings = settings


def profile(qos: Qos) -> QoSProfile:
    """Return the rclpy profile of a qos."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=qos.depth,
        reliability=ReliabilityPolicy.RELIABLE if qos.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if qos.latched else DurabilityPolicy.VOLATILE,
    )
