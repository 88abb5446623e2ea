"""`Recording`: a rosbag2 or a ROS 1 bag read by rosbags, with errors that name file, topic and what was expected."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from molmo_point.closing import Closing
from molmo_point.errors import UsageError
from molmo_robot.bag.sources import Source
from molmo_robot.dds.types import RosTypes

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore


ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class BagError(UsageError):
    """A recording that cannot be read or written."""

    kind = "bag"


class Recording(Closing):
    """An open recording. Close it, or use it in a `with` block.

    Args:
        path: A rosbag2 folder, one of its .mcap or .db3 files (also compressed: .mcap.zst), or a ROS 1 .bag file.
        types: Definitions for where the recording holds none (sqlite3 before Iron).

    Raises:
        BagError: Not a recording, or damaged.
    """

    def __init__(self, path: Path, types: RosTypes) -> None:
        if not path.exists():
            raise BagError(f"there is no recording {path}: check the path")
        with _explained(path):
            self._begin(path, types, Source(path, types), owner=True)

    def _begin(self, path: Path, types: RosTypes, source: Source, *, owner: bool) -> None:
        from rosbags.typesys import Stores, get_typestore

        self.path = path
        self.types = types
        self._source, self._owner = source, owner
        # A recording brings its own types: the same name may have other fields in another distribution.
        self._own = get_typestore(Stores.EMPTY)
        try:
            self._reader = source.reader()
        except BaseException:
            if owner:
                source.close()
            raise
        self._open = True

    def again(self) -> Recording:
        """Open a second reader at another position. Close it before this one.

        Raises:
            BagError: It is damaged.
        """
        other = Recording.__new__(Recording)
        with _explained(self.path):
            other._begin(self.path, self.types, self._source, owner=False)
        return other

    @property
    def connections(self) -> list[Any]:
        """Topics with their types and definitions, as rosbags has them."""
        return list(self._reader.connections)

    @property
    def foreign(self) -> dict[str, str]:
        """{topic: encoding} of what the file holds besides ROS 2 messages (JSON, Protobuf, ...)."""
        return dict(self._reader.foreign)

    @property
    def start_ns(self) -> int:
        """Log time of the first message, in nanoseconds."""
        return int(self._reader.start_time)

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return int(self._reader.message_count)

    def type_of(self, topic: str, expected: Collection[str], option: str) -> str:
        """Return the type of a required topic.

        Raises:
            BagError: It is not there, or of another type; says what is.
        """
        found = {c.topic: str(c.msgtype) for c in self._reader.connections}
        if topic in self.foreign and topic not in found:
            raise BagError(
                f"{option} {topic}: expected ROS 2 messages ({' or '.join(sorted(expected))}), found it in the encoding "
                f"{self.foreign[topic]!r}: record the ROS 2 topic, or convert it"
            )
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
            if not wanted:
                return
            for connection, stamp_ns, data in self._reader.messages(connections=wanted):
                yield connection, int(stamp_ns), bytes(data)

    def decode(self, connection: Any, data: bytes) -> Any:
        """Return the message of a connection's bytes.

        Raises:
            BagError: The bytes do not fit the type, or the type is not known.
        """
        if data.startswith(ZSTD_MAGIC):
            raise BagError(
                f"{self.path}: {connection.topic}: its messages are compressed one by one, which only the metadata.yaml beside "
                "it says: give the folder instead of the file"
            )
        with _explained(self.path, f"{connection.topic} ({connection.msgtype})"):
            return self._store_of(connection).deserialize_cdr(data, connection.msgtype)

    def close(self) -> None:
        """Close the files. Closing twice is allowed."""
        if self._open:
            self._open = False
            self._reader.close()
            if self._owner:
                self._source.close()

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


class _explained:
    """Convert any exception of rosbags on a damaged file into a `BagError`; errors of this project pass."""

    def __init__(self, path: Path, what: str = "") -> None:
        self._path = path
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
        if isinstance(error, KeyError):
            words = f"{type(error).__name__} {words}"
        raise BagError(
            f"{self._name} cannot be read: {words}{_advice(self._path, words)}"
        ) from error


def _advice(path: Path, words: str) -> str:
    """Return the command that repairs a recording, where one can."""
    if path.is_dir() and not (path / "metadata.yaml").exists():
        return "; `ros2 bag reindex` writes the metadata.yaml that is missing"
    if path.is_dir() and any(word in words for word in ("metadata", "files are missing")):
        return "; `ros2 bag reindex` writes a metadata.yaml of the files that are there, and each file can be given alone"
    if path.suffix == ".active":
        return "; `rosbag reindex` ends a recording that was cut short: rename it to .bag before"
    if path.suffix == ".bag":
        return "; `rosbag reindex` mends a recording that was cut short"
    files = sorted(path.glob("*.mcap")) if path.is_dir() else [path]
    if words.startswith("Chunk") or any(f.suffix == ".mcap" and _is_cut(f) for f in files):
        return "; a recording that was cut short is mended by `mcap recover` or `ros2 bag reindex`"
    if "malformed" in words:
        return "; what is left of a damaged .db3 file is read by `sqlite3 FILE .recover`"
    return ""


def _is_cut(path: Path) -> bool:
    """Whether a file begins as MCAP and does not end as such."""
    magic = b"\x89MCAP0\r\n"
    size = path.stat().st_size
    with path.open("rb") as file:
        begins = file.read(len(magic)) == magic
        file.seek(max(len(magic), size - len(magic)))
        return begins and file.read() != magic
