"""QoS profiles of the topics, free of rclpy and of DDS."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Qos:
    """The part of a QoS profile that ROS 2 users set.

    Attributes:
        reliable: Reliable rather than best effort.
        latched: Transient local: late subscribers get the last `depth` messages.
        depth: Messages kept (keep last).
    """

    reliable: bool = True
    latched: bool = False
    depth: int = 1


LATEST = Qos(reliable=True, latched=True)
"""A late RViz or behaviour tree still gets the last answer."""

EVENTS = Qos(reliable=True, depth=10)
SENSOR = Qos(reliable=False)
