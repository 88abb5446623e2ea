"""`Bridge`: camera topics in, result topics out, over DDS alone: messages between a robot and a `Participant`."""

from __future__ import annotations

import threading

from molmo_robot.dds.participant import Participant, Publisher
from molmo_robot.qos import Qos
from molmo_robot.robot import Robot

DIAGNOSTICS_PERIOD_S = 1.0


class Bridge:
    """Wires a robot to a participant; both belong to the caller."""

    def __init__(self, participant: Participant, robot: Robot) -> None:
        self._participant = participant
        self._robot = robot
        self._publishers: dict[str, Publisher] = {
            output.name: participant.writer(f"~/{output.name}", output.type_name, output.qos)
            for output in robot.outputs
        }
        self._diagnostics = participant.writer(
            "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos(depth=10)
        )
        # The robot starts first, so that an image that arrives immediately is answered.
        robot.start(
            lambda name, message: self._publishers[name].publish(message),
            lambda name: self._publishers[name].watched(),
        )
        for source in robot.inputs():
            participant.reader(source.topic, source.type_name, source.qos, source.receive)

    def run(self, stopped: threading.Event) -> None:
        """Publish diagnostics once a second until `stopped` is set."""
        while not stopped.wait(DIAGNOSTICS_PERIOD_S):
            self._diagnostics.publish(self._robot.diagnostics(self._participant.node))
