"""`Ros1Reader`: a ROS 1 bag read as if it were a ROS 2 recording: the same topics, with the messages as CDR."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosbags.convert.converter import (
    LATCH,
    STATIC_MSGTYPE_RENAMES,
    is_same_wireformat,
    migrate_bytes,
)
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.rosbag1 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

Convert = Callable[[bytes], Any]


class Ros1Reader:
    """The part of rosbags' ROS 2 reader that recordings need.

    Args:
        path: The .bag file.
        store: Definitions of ROS 2: a type it knows is written as it has it, others as the bag has them.
    """

    foreign: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, path: Path, store: Typestore) -> None:
        self._reader = Reader(path)
        self._store = store
        self._connections: dict[int, tuple[Any, Connection, Convert]] = {}

    def open(self) -> None:
        """Open the file and read its definitions."""
        self._reader.open()
        ros1 = get_typestore(Stores.EMPTY)
        for connection in self._reader.connections:
            ros1.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        ros2 = get_typestore(Stores.EMPTY)
        ros2.register({**self._store.fielddefs})
        # ROS 2 has no `seq` in its headers; everything else of the bag's own types is the same.
        ros2.register({n: d for n, d in ros1.fielddefs.items() if n not in ros2.fielddefs})
        cache: dict[str, object] = {}
        for connection in self._reader.connections:
            name = STATIC_MSGTYPE_RENAMES.get(connection.msgtype, connection.msgtype)
            text, _ = ros2.generate_msgdef(name, ros_version=2)
            made = Connection(
                id=connection.id,
                topic=connection.topic,
                msgtype=name,
                msgdef=MessageDefinition(MessageDefinitionFormat.MSG, text),
                digest=ros2.hash_rihs01(name),
                msgcount=connection.msgcount,
                ext=ConnectionExtRosbag2(
                    "cdr", list(LATCH) if getattr(connection.ext, "latching", 0) else []
                ),
                owner=self,
            )
            convert = _converter(ros1, ros2, connection.msgtype, name, cache)
            self._connections[connection.id] = (connection, made, convert)

    @property
    def connections(self) -> list[Connection]:
        """Topics, as a ROS 2 recording would have them."""
        return [made for _, made, _ in self._connections.values()]

    @property
    def start_time(self) -> int:
        """Log time of the first message, in nanoseconds."""
        return int(self._reader.start_time)

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return int(self._reader.message_count)

    def messages(
        self, connections: Collection[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield (connection, log time in ns, CDR bytes) in log order."""
        wanted = [self._connections[c.id][0] for c in connections]
        for connection, stamp_ns, data in self._reader.messages(connections=wanted):
            _, made, convert = self._connections[connection.id]
            yield made, stamp_ns, bytes(convert(data))

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def _converter(
    ros1: Typestore, ros2: Typestore, name1: str, name2: str, cache: dict[str, object]
) -> Convert:
    if is_same_wireformat(ros1, ros2, name1, name2):
        return lambda data: ros2.ros1_to_cdr(data, name2)
    return lambda data: migrate_bytes(
        ros1, ros2, name1, name2, cache, data, src_is2=False, dst_is2=True
    )
