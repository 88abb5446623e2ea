"""`Bridge`: camera topics in, result topics out, over DDS alone.

The thinking is a robot's (`molmo_robot.robot.Robot`, known here by its methods); this file carries messages between it and a
`Participant`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from molmo_robot.dds.participant import Outlet, Participant, Quality

DIAGNOSTICS_PERIOD_S = 1.0


class Profile(Protocol):
    """QoS of a topic."""

    @property
    def reliable(self) -> bool: ...
    @property
    def latched(self) -> bool: ...
    @property
    def depth(self) -> int: ...


class Source(Protocol):
    """A topic the robot wants to hear."""

    @property
    def topic(self) -> str: ...
    @property
    def type_name(self) -> str: ...
    @property
    def quality(self) -> Profile: ...
    @property
    def receive(self) -> Callable[[Any], None]: ...


class Sink(Protocol):
    """A topic the robot publishes, `~/name`."""

    @property
    def name(self) -> str: ...
    @property
    def type_name(self) -> str: ...
    @property
    def quality(self) -> Profile: ...


class Robot(Protocol):
    """What answers."""

    @property
    def outputs(self) -> Sequence[Sink]: ...

    def inputs(self) -> Sequence[Source]:
        """Return the topics it wants to hear."""

    def start(self, publish: Callable[[str, Any], None], watched: Callable[[str], bool]) -> None:
        """Begin to answer."""

    def diagnostics(self, node: str) -> Any:
        """Return the message for /diagnostics."""

    def close(self) -> None:
        """End; nothing is published afterwards."""


class Bridge:
    """Wires a robot to a participant; both belong to the caller."""

    def __init__(self, participant: Participant, robot: Robot) -> None:
        self._participant = participant
        self._robot = robot
        self._outlets: dict[str, Outlet] = {
            sink.name: participant.writer(f"~/{sink.name}", sink.type_name, _quality(sink.quality))
            for sink in robot.outputs
        }
        self._diagnostics = participant.writer(
            "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Quality(depth=10)
        )
        # Answers first: a picture that arrives at once must find somebody to publish its answer.
        robot.start(
            lambda name, message: self._outlets[name].publish(message),
            lambda name: self._outlets[name].watched(),
        )
        for source in robot.inputs():
            participant.reader(
                source.topic, source.type_name, _quality(source.quality), source.receive
            )

    def run(self, stopped: threading.Event) -> None:
        """Publish diagnostics once a second until `stopped` is set."""
        while not stopped.wait(DIAGNOSTICS_PERIOD_S):
            self._diagnostics.publish(self._robot.diagnostics(self._participant.node))


def _quality(profile: Profile) -> Quality:
    return Quality(profile.reliable, profile.latched, profile.depth)
