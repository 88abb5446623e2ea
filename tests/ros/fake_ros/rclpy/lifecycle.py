from enum import Enum

from rclpy.node import Node


class TransitionCallbackReturn(Enum):
    SUCCESS = 0
    FAILURE = 1
    ERROR = 2


class LifecyclePublisher:
    """Silent unless its node is active."""

    def __init__(self, node, publisher):
        self._node, self.publisher = node, publisher

    def publish(self, message):
        if self._node.managed_active:
            self.publisher.publish(message)

    def get_subscription_count(self):
        return self.publisher.get_subscription_count()


# transition: (from, to, callback)
TRANSITIONS = {
    "configure": ("unconfigured", "inactive", "on_configure"),
    "activate": ("inactive", "active", "on_activate"),
    "deactivate": ("active", "inactive", "on_deactivate"),
    "cleanup": ("inactive", "unconfigured", "on_cleanup"),
}


class LifecycleNode(Node):
    def __init__(self, node_name, *, enable_communication_interface=True, **options):
        super().__init__(node_name, **options)
        self.state = "unconfigured"
        self.managed_active = False

    def create_lifecycle_publisher(self, msg_type, topic, qos_profile, **_):
        return LifecyclePublisher(self, self.create_publisher(msg_type, topic, qos_profile))

    def destroy_lifecycle_publisher(self, publisher):
        self.destroy_publisher(publisher.publisher)

    def on_configure(self, state):
        return TransitionCallbackReturn.SUCCESS

    on_cleanup = on_shutdown = on_error = on_configure

    def on_activate(self, state):
        self.managed_active = True
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state):
        self.managed_active = False
        return TransitionCallbackReturn.SUCCESS

    def trigger_configure(self):
        return self._change("configure")

    def trigger_activate(self):
        return self._change("activate")

    def trigger_deactivate(self):
        return self._change("deactivate")

    def trigger_cleanup(self):
        return self._change("cleanup")

    def trigger_shutdown(self):
        if self.state == "finalized":
            raise RuntimeError("no transition shutdown from finalized")
        result = self._call("on_shutdown")
        self.state = "finalized"
        return result

    def _change(self, name):
        start, goal, callback = TRANSITIONS[name]
        if self.state != start:
            raise RuntimeError(f"no transition {name} from {self.state}")
        result = self._call(callback)
        if result is TransitionCallbackReturn.SUCCESS:
            self.state = goal
        elif result is TransitionCallbackReturn.ERROR:
            recovered = self._call("on_error") is TransitionCallbackReturn.SUCCESS
            self.state = "unconfigured" if recovered else "finalized"
        return result

    def _call(self, callback):
        try:
            return getattr(self, callback)(self.state)
        except Exception:
            # As in rclpy: swallowed, and an error.
            return TransitionCallbackReturn.ERROR
