"""`Recording`: a rosbag2 (folder, .mcap or .db3) read by rosbags, with errors that name file, topic and what was expected."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from molmo_point.errors import UsageError
from molmo_point.service.dds.types import RosTypes

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore


class BagError(UsageError):
    """A recording that cannot be read or written."""

    kind = "bag"


class Recording:
    """An open recording. Close it, or use it in a `with` block.

    Args:
        path: A rosbag2 folder, or one of its .mcap or .db3 files.
        types: Definitions for where the recording holds none (sqlite3 before Iron).

    Raises:
        BagError: Not a recording, or damaged.
    """

    def __init__(self, path: Path, types: RosTypes) -> None:
        from rosbags.rosbag2 import Reader
        from rosbags.typesys import Stores, get_typestore

        if not path.exists():
            raise BagError(f"there is no recording {path}: check the path")
        if path.suffix == ".bag":
            raise BagError(f"{path} is a ROS 1 bag: convert it with rosbags-convert first")
        self.path = path
        self.types = types
        # Types of a recording are its own: the same name may have other fields in another distribution.
        self._own = get_typestore(Stores.EMPTY)
        with _explained(path):
            self._reader = Reader(path)
            self._reader.open()
        self._open = True

    @property
    def connections(self) -> list[Any]:
        """Topics with their types and definitions, as rosbags has them."""
        return list(self._reader.connections)

    @property
    def start_ns(self) -> int:
        """Log time of the first message, in nanoseconds."""
        return int(self._reader.start_time)

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return int(self._reader.message_count)

    def type_of(self, topic: str, expected: Collection[str], option: str) -> str:
        """Return the type of a topic that has to be there.

        Raises:
            BagError: It is not there, or of another type; says what is.
        """
        found = {c.topic: str(c.msgtype) for c in self._reader.connections}
        if topic not in found:
            fitting = sorted(t for t, kind in found.items() if kind in expected)
            raise BagError(
                f"{option} {topic}: expected a topic of {self.path}; those of type {' or '.join(sorted(expected))} "
                f"are {', '.join(fitting) or 'none'}"
            )
        if found[topic] not in expected:
            raise BagError(
                f"{option} {topic}: expected {' or '.join(sorted(expected))}, found {found[topic]}"
            )
        return found[topic]

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[Any, int, bytes]]:
        """Yield (connection, log time in ns, bytes) in log order, of some topics or of all.

        Raises:
            BagError: The recording is damaged from here on.
        """
        wanted = self.connections
        if topics is not None:
            wanted = [c for c in wanted if c.topic in topics]
            if not wanted:
                return
        with _explained(self.path):
            for connection, stamp_ns, data in self._reader.messages(connections=wanted):
                yield connection, int(stamp_ns), bytes(data)

    def decode(self, connection: Any, data: bytes) -> Any:
        """Return the message of a connection's bytes.

        Raises:
            BagError: The bytes do not fit the type, or the type is not known.
        """
        with _explained(self.path, f"{connection.topic} ({connection.msgtype})"):
            return self._store_of(connection).deserialize_cdr(data, connection.msgtype)

    def close(self) -> None:
        """Close the files. Closing twice is allowed."""
        if self._open:
            self._open = False
            self._reader.close()

    def _store_of(self, connection: Any) -> Typestore:
        """The store that knows a connection's type: the recording's own definition goes before the distribution's."""
        from rosbags.interfaces import MessageDefinitionFormat
        from rosbags.typesys import get_types_from_idl, get_types_from_msg

        name, definition = connection.msgtype, connection.msgdef
        if name in self._own.fielddefs:
            return self._own
        if definition.data and definition.format == MessageDefinitionFormat.IDL:
            self._own.register(get_types_from_idl(definition.data))
        elif definition.data and definition.format == MessageDefinitionFormat.MSG:
            self._own.register(get_types_from_msg(definition.data, name))
        else:
            self.types.definition(name)
            return self.types.store
        return self._own

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _explained:
    """Turns whatever a damaged file makes rosbags raise into a `BagError`; our own errors pass."""

    def __init__(self, path: Path, what: str = "") -> None:
        self._name = f"{path}: {what}" if what else str(path)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, UsageError):
            return
        words = " ".join(str(error).split()) or type(error).__name__
        raise BagError(
            f"{self._name} cannot be read: {words}; a recording that was cut short is mended by "
            "`mcap recover` or `ros2 bag reindex`"
        ) from error
