"""`Participant`: a node on the ROS 2 graph, as `ros2 node list` and `ros2 topic info` see one.

What makes it a ROS 2 node: topics under `rt/`, types named `pkg::msg::dds_::Name_`, the participant's USER_DATA with its enclave,
each endpoint's USER_DATA with its type hash, and the topic `ros_discovery_info` that says which endpoints belong to which node.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from molmo_point.closing import Closing
from molmo_point.errors import UsageError
from molmo_robot.dds.types import RosTypes
from molmo_robot.dds.wire_types import WireTypes, require_cyclonedds
from molmo_robot.qos import Qos
from molmo_robot.ros_types import Message

if TYPE_CHECKING:
    from cyclonedds.pub import DataWriter
    from cyclonedds.sub import DataReader

log = logging.getLogger("molmo_point.dds")

GRAPH_TOPIC = "ros_discovery_info"
GRAPH_TYPE = "rmw_dds_common/msg/ParticipantEntitiesInfo"

LOOPBACK = (
    "<CycloneDDS><Domain><General><Interfaces><NetworkInterface name='lo' multicast='true'/></Interfaces>"
    "<AllowMulticast>true</AllowMulticast></General></Domain></CycloneDDS>"
)
"""Nothing leaves the machine. Found by a ROS 2 side that uses `lo` with multicast."""

UNICAST = (
    "<CycloneDDS><Domain><General><Interfaces><NetworkInterface name='lo'/></Interfaces>"
    "<AllowMulticast>false</AllowMulticast></General><Discovery><ParticipantIndex>auto</ParticipantIndex>"
    "<Peers><Peer Address='localhost'/></Peers></Discovery></Domain></CycloneDDS>"
)
"""For a ROS 2 side with ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST or ROS_LOCALHOST_ONLY=1, which switches multicast off."""

OPEN = "<CycloneDDS><Domain><General><AllowMulticast>true</AllowMulticast></General></Domain></CycloneDDS>"
"""Every interface: asked for with `--network`, never by default."""

NETWORKS = {"loopback": LOOPBACK, "localhost-only": UNICAST, "network": OPEN}


class Publisher:
    """An advertised topic."""

    def __init__(self, writer: DataWriter[Any], wire: Callable[[Message], object]) -> None:
        self._writer = writer
        self._wire = wire

    def publish(self, message: Message) -> None:
        """Publish a message; called from any thread."""
        self._writer.write(self._wire(message))

    def watched(self) -> bool:
        """Whether there is a subscriber."""
        return bool(self._writer.get_matched_subscriptions())


class Participant(Closing):
    """A node with readers and writers. Close it, or use it in a `with` block.

    Args:
        node: Node name without namespace.
        types: Message definitions.
        namespace: Starting with a slash.
        domain: DDS domain, ROS_DOMAIN_ID.
        network: One of `NETWORKS`; CYCLONEDDS_URI in the environment goes before it.

    Raises:
        MissingExtra: cyclonedds or rosbags is not installed.
        UsageError: A name that ROS 2 does not allow, or the domain cannot be joined.
    """

    def __init__(
        self,
        node: str,
        types: RosTypes,
        *,
        namespace: str = "/",
        domain: int = 0,
        network: str = "loopback",
    ) -> None:
        require_cyclonedds()
        from cyclonedds.core import DDSException
        from cyclonedds.domain import Domain, DomainParticipant
        from cyclonedds.qos import Policy
        from cyclonedds.qos import Qos as CycloneQos

        if network not in NETWORKS:
            raise UsageError(f"expected a network out of {', '.join(NETWORKS)}, got {network!r}")
        if not node.isidentifier() or not namespace.startswith("/"):
            raise UsageError(
                f"expected a node name of letters, digits and _ and a namespace from /, got {node!r} and {namespace!r}"
            )
        self.node, self.namespace, self.types = node, namespace, types
        self._wire = WireTypes(types)
        self._domain: object = None
        try:
            if "CYCLONEDDS_URI" not in os.environ:
                self._domain = Domain(domain, NETWORKS[network])
            self._participant: Any = DomainParticipant(
                domain, qos=CycloneQos(Policy.Userdata(b"enclave=/;"))
            )
        except DDSException as error:
            raise UsageError(
                f"cannot join DDS domain {domain} on {network}: {error}; is the interface there, and is one "
                "participant of this process on it already?"
            ) from error
        self._readers: list[DataReader[Any]] = []
        self._writers: list[DataWriter[Any]] = []
        self._lock = threading.Lock()
        self._graph = self._graph_writer()
        self._announce()

    def writer(self, topic: str, type_name: str, qos: Qos) -> Publisher:
        """Advertise a topic."""
        from cyclonedds.pub import DataWriter

        wire = self._wire.of(type_name)
        made: DataWriter[Any] = DataWriter(
            self._participant, self._topic(topic, wire), qos=self._qos(qos, type_name)
        )
        self._writers.append(made)
        self._announce()
        return Publisher(made, wire)

    def reader(self, topic: str, type_name: str, qos: Qos, receive: Callable[[Any], None]) -> None:
        """Subscribe; `receive` is called on a DDS thread with each message, which it must not block.

        A message whose bytes do not fit its type is logged and dropped; it does not reach `receive`.
        """
        from cyclonedds.core import Listener
        from cyclonedds.sub import DataReader

        wire = self._wire.of(type_name)

        class Arrivals(Listener):
            def on_data_available(self, reader: DataReader[Any]) -> None:
                try:
                    for sample in reader.take(N=max(qos.depth, 8)):
                        message = getattr(sample, "message", None)
                        if message is not None:
                            receive(message)
                except Exception:
                    # An exception would end the DDS thread that delivers every topic.
                    log.exception("%s: a message could not be taken in", topic)

        made: DataReader[Any] = DataReader(
            self._participant,
            self._topic(topic, wire),
            qos=self._qos(qos, type_name),
            listener=Arrivals(),  # type: ignore[no-untyped-call]
        )
        self._readers.append(made)
        self._announce()

    def close(self) -> None:
        """Leave the graph. Closing twice is allowed."""
        with self._lock:
            self._readers.clear()
            self._writers.clear()
            self._graph = None
            self._participant = None
            self._domain = None

    def _topic(self, topic: str, wire: type[Any]) -> Any:
        from cyclonedds.topic import Topic

        return Topic(self._participant, "rt" + self.absolute(topic), wire)

    def absolute(self, topic: str) -> str:
        """Return a topic's absolute name: `~/x` is private to the node, `x` relative to the namespace."""
        base = self.namespace.rstrip("/")
        if topic.startswith("~/"):
            return f"{base}/{self.node}/{topic[2:]}"
        return topic if topic.startswith("/") else f"{base}/{topic}"

    def _qos(self, qos: Qos, type_name: str) -> Any:
        from cyclonedds.qos import Policy
        from cyclonedds.qos import Qos as CycloneQos
        from cyclonedds.util import duration

        return CycloneQos(
            Policy.Reliability.Reliable(duration(milliseconds=100))
            if qos.reliable
            else Policy.Reliability.BestEffort,
            Policy.Durability.TransientLocal if qos.latched else Policy.Durability.Volatile,
            Policy.History.KeepLast(qos.depth),
            Policy.Userdata(f"typehash={self.types.hash(type_name)};".encode()),
            # ROS 2 messages are XCDR1; offering both would let Cyclone pick the other one for its own readers.
            Policy.DataRepresentation(use_cdrv0_representation=True),
        )

    def _graph_writer(self) -> Any:
        from cyclonedds.pub import DataWriter
        from cyclonedds.topic import Topic

        self._graph_wire = self._wire.of(GRAPH_TYPE)
        topic: Topic[Any] = Topic(self._participant, GRAPH_TOPIC, self._graph_wire)
        return DataWriter(self._participant, topic, qos=self._qos(Qos(latched=True), GRAPH_TYPE))

    def _announce(self) -> None:
        """Tell the graph which endpoints are this node's."""
        with self._lock:
            make = self.types.make
            node = make(
                "rmw_dds_common/msg/NodeEntitiesInfo",
                node_namespace=self.namespace,
                node_name=self.node,
                reader_gid_seq=[self._gid(reader) for reader in self._readers],
                writer_gid_seq=[self._gid(writer) for writer in self._writers],
            )
            info = make(
                GRAPH_TYPE, gid=self._gid(self._participant), node_entities_info_seq=[node]
            )
            self._graph.write(self._graph_wire(info))

    def _gid(self, entity: Any) -> Any:
        size = 24 if self.types.distro == "humble" else 16
        return self.types.make(
            "rmw_dds_common/msg/Gid", data=list(entity.guid.bytes.ljust(size, b"\0"))
        )
