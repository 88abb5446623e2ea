"""Who publishes, subscribes and serves: the place of DDS. Matching of QoS follows its rules."""

import threading
from collections import deque

lock = threading.RLock()
publishers = []
subscriptions = []
services = {}
actions = {}


def clear():
    with lock:
        publishers.clear()
        subscriptions.clear()
        services.clear()
        actions.clear()


def compatible(offered, wanted):
    """A subscription may ask for less than is offered, never for more."""
    from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

    if wanted.reliability == ReliabilityPolicy.RELIABLE != offered.reliability:
        return False
    return not (wanted.durability == DurabilityPolicy.TRANSIENT_LOCAL != offered.durability)


class Publisher:
    def __init__(self, node, msg_type, topic, qos):
        self.node, self.msg_type, self.topic, self.qos = node, msg_type, topic, qos
        self.kept = deque(maxlen=qos.depth)
        with lock:
            publishers.append(self)

    def publish(self, message):
        if not isinstance(message, self.msg_type):
            raise TypeError(f"expected {self.msg_type}, got {type(message)}")
        with lock:
            self.kept.append(message)
            for subscription in subscriptions:
                if subscription.hears(self):
                    subscription.deliver(message)

    def get_subscription_count(self):
        with lock:
            return sum(subscription.hears(self) for subscription in subscriptions)


class Subscription:
    def __init__(self, node, msg_type, topic, callback, qos, group):
        self.node, self.msg_type, self.topic = node, msg_type, topic
        self.callback, self.qos, self.group = callback, qos, group
        self.waiting = deque(maxlen=qos.depth)
        with lock:
            subscriptions.append(self)
            for publisher in publishers:
                if self.hears(publisher) and self._latched() and publisher.kept:
                    for message in list(publisher.kept):
                        self.deliver(message)

    def _latched(self):
        from rclpy.qos import DurabilityPolicy

        return self.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL

    def hears(self, publisher):
        return (
            publisher in publishers
            and publisher.topic == self.topic
            and publisher.msg_type is self.msg_type
            and compatible(publisher.qos, self.qos)
        )

    def deliver(self, message):
        self.waiting.append(message)
        self.node.schedule(self.group, self.take)

    def take(self):
        with lock:
            if self not in subscriptions or not self.waiting:
                return
            message = self.waiting.popleft()
        self.callback(message)
