"""`TolerantReader`: rosbags' reader for recordings that hold more than ROS 2 messages.

An MCAP file may carry JSON, Protobuf or ROS 1 beside ROS 2, and a file of another tool may name no profile at all. rosbags gives
up on the first foreign schema. Here the file is read through a few changed bytes: foreign records become records of an unknown
kind, which every MCAP reader passes over, and the profile becomes that of ROS 2. The file itself is not touched.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from rosbags.rosbag2.reader import DirectoryReader, Reader
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

MAGIC = b"\x89MCAP0\r\n"
FOOTER_BYTES = 37
HEADER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x01, 0x03, 0x04, 0x05, 0x06
UNKNOWN = b"\x7f"
"""An opcode below 0x80 that the format leaves free: readers must skip unknown opcodes."""

ROS2_SCHEMAS = ("ros2msg", "ros2idl", "omgidl", "")
ROS2_MESSAGES = ("cdr",)


class Foreign:
    """The foreign content of an MCAP file, and the byte changes that hide it.

    Attributes:
        topics: {topic: how its messages are encoded}.
        changes: {offset in the file: bytes to read there instead}.
    """

    def __init__(self, path: Path) -> None:
        self.topics: dict[str, str] = {}
        self.changes: dict[int, bytes] = {}
        # The reader reports damage.
        with path.open("rb") as file, contextlib.suppress(struct.error):
            if file.read(len(MAGIC)) == MAGIC:
                self._look(file)

    def _look(self, file: BinaryIO) -> None:
        size = file.seek(0, io.SEEK_END)
        begin = len(MAGIC)
        header = next(_records(file, begin, size), None)
        if header is None or header[1] != HEADER:
            return
        at, _, content = header
        if content[4:8] != b"ros2" or struct.unpack_from("<I", content)[0] != 4:
            self.changes[at + 9] = struct.pack("<I", 4) + b"ros2"
        file.seek(max(0, size - FOOTER_BYTES) + 9)
        (summary,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        for start, end in ((summary, size - FOOTER_BYTES), (begin, summary or size)):
            if 0 < start < end and self._hide(_records(file, start, end)):
                return

    def _hide(self, records: Iterator[tuple[int, int, bytes]]) -> bool:
        """Hide the foreign schemas and channels; return whether there is any channel."""
        foreign: dict[int, str] = {}
        channels = False
        for at, kind, content in records:
            if kind == SCHEMA:
                (number,) = struct.unpack_from("<H", content)
                _, encoding = _texts(content[2:], 2)
                if encoding not in ROS2_SCHEMAS:
                    foreign[number] = encoding
                    self.changes[at] = UNKNOWN
            elif kind == CHANNEL:
                channels = True
                (schema,) = struct.unpack_from("<H", content, 2)
                topic, encoding = _texts(content[4:], 2)
                if schema in foreign or encoding not in ROS2_MESSAGES:
                    self.topics[topic] = encoding or foreign.get(schema, "unknown")
                    self.changes[at] = UNKNOWN
        return channels


def _records(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield (offset, opcode, content) of the records between two offsets; contents of messages and chunks are not read."""
    at = start
    while at + 9 <= end:
        file.seek(at)
        head = file.read(9)
        if len(head) < 9:
            return
        kind, size = struct.unpack("<BQ", head)
        wanted = kind in (HEADER, SCHEMA, CHANNEL) and at + 9 + size <= end
        content = file.read(size) if wanted else b""
        if wanted and len(content) < size:
            return
        yield at, kind, content
        at += 9 + size


def _texts(data: bytes, count: int) -> list[str]:
    """The first texts of a record."""
    found, at = [], 0
    for _ in range(count):
        (size,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4 : at + 4 + size].decode("utf-8", "replace"))
        at += 4 + size
    return found


class _ChangedFile(io.BufferedReader):
    """A file that is read with some bytes changed."""

    def __init__(self, path: Path, changes: Mapping[int, bytes]) -> None:
        super().__init__(io.FileIO(path))
        self._changes = changes

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        data = super().read(size)
        changed = None
        for offset, new in self._changes.items():
            low, high = max(offset, start), min(offset + len(new), start + len(data))
            if low < high:
                changed = changed or bytearray(data)
                changed[low - start : high - start] = new[low - offset : high - offset]
        return data if changed is None else bytes(changed)


class _ChangedPath:
    """The part of a path that rosbags' MCAP reader needs."""

    def __init__(self, path: Path, changes: Mapping[int, bytes]) -> None:
        self._path, self._changes = path, changes

    def open(self, mode: str = "rb") -> _ChangedFile:
        return _ChangedFile(self._path, self._changes)

    def __str__(self) -> str:
        return str(self._path)


class TolerantMcap(McapReader):
    """rosbags' MCAP reader, which skips what is not ROS 2 and names it in `foreign`."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.foreign: dict[str, str] = {}

    def open(self) -> None:
        """Open the file."""
        found = Foreign(Path(str(self.path)))
        self.foreign = found.topics
        changed: Any = _ChangedPath(Path(str(self.path)), found.changes)
        self.path = changed
        super().open()


_FILES: Mapping[str, Any] = {"mcap": TolerantMcap, "sqlite3": Sqlite3Reader}


class _TolerantFolder(DirectoryReader):
    STORAGE_PLUGINS = _FILES


class TolerantReader(Reader):
    """rosbags' reader of folders, .mcap and .db3 files, which skips what is not ROS 2."""

    STORAGE_PLUGINS: Mapping[str, Any] = {
        "dir": _TolerantFolder,
        ".mcap": TolerantMcap,
        ".db3": Sqlite3Reader,
    }

    @property
    def foreign(self) -> dict[str, str]:
        """{topic: encoding} of what is not ROS 2; known once the reader is open."""
        storage: Any = self.storage
        found: dict[str, str] = {}
        for part in (storage, *getattr(storage, "storages", ())):
            found.update(getattr(part, "foreign", {}))
        return found
