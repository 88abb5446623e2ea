"""`TolerantReader`: rosbags' reader for recordings that hold more than ROS 2 messages.

An MCAP file may carry JSON, Protobuf or ROS 1 besides ROS 2, and a file of another tool may name no profile at all. rosbags gives
up on the first foreign schema. Here the file is read through a few changed bytes: foreign records of its summary become records
of an unknown kind, which every MCAP reader passes over, and the profile becomes that of ROS 2. Where the summary does not name
the channels, the data are scanned without what is foreign. The file itself is not touched.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from rosbags.rosbag2.reader import DirectoryReader, Reader
from rosbags.rosbag2.storage_mcap import McapReader, decompress
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

MAGIC = b"\x89MCAP0\r\n"
FOOTER_BYTES = 37
MESSAGE_HEAD_BYTES = 22
HEADER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x01, 0x03, 0x04, 0x05, 0x06
UNKNOWN = b"\x7f"
"""An opcode below 0x80 that the format leaves free: readers must skip unknown opcodes."""

ROS2_SCHEMAS = ("ros2msg", "ros2idl", "omgidl", "")
ROS2_MESSAGES = ("cdr",)


class Foreign:
    """Tells the foreign schemas and channels of an MCAP file from those of ROS 2.

    Attributes:
        topics: {topic: how its messages are encoded} of what is foreign.
    """

    def __init__(self) -> None:
        self.topics: dict[str, str] = {}
        self._schemas: dict[int, str] = {}

    def holds(self, kind: int, content: bytes) -> bool:
        """Whether a record is a foreign one; records of schemas come before those of their channels."""
        if kind == SCHEMA:
            (number,) = struct.unpack_from("<H", content)
            _, encoding = _texts(content[2:], 2)
            if encoding not in ROS2_SCHEMAS:
                self._schemas[number] = encoding
                return True
        elif kind == CHANNEL:
            (schema,) = struct.unpack_from("<H", content, 2)
            topic, encoding = _texts(content[4:], 2)
            if schema in self._schemas or encoding not in ROS2_MESSAGES:
                self.topics[topic] = encoding or self._schemas.get(schema, "unknown")
                return True
        return False


def _changes(path: Path, foreign: Foreign) -> dict[int, bytes]:
    """{offset in the file: bytes to read there instead}: the profile of ROS 2, no foreign record in the summary."""
    changes: dict[int, bytes] = {}
    # The reader reports damage.
    with path.open("rb") as file, contextlib.suppress(struct.error):
        if file.read(len(MAGIC)) != MAGIC:
            return changes
        size = file.seek(0, io.SEEK_END)
        header = next(_records(file, len(MAGIC), size), None)
        if header is None or header[1] != HEADER:
            return changes
        at, _, content = header
        if content[4:8] != b"ros2" or struct.unpack_from("<I", content)[0] != 4:
            changes[at + 9] = struct.pack("<I", 4) + b"ros2"
        file.seek(max(0, size - FOOTER_BYTES) + 9)
        (summary,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if summary:
            for at, kind, content in _records(file, summary, size - FOOTER_BYTES):
                if foreign.holds(kind, content):
                    changes[at] = UNKNOWN
    return changes


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


def _unpacked(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield (opcode, content) of the schemas, channels and messages between two offsets, also of those in chunks.

    Of messages, what stands before their data.
    """
    at = start
    while at + 9 <= end:
        file.seek(at)
        kind, size = struct.unpack("<BQ", file.read(9))
        if kind == CHUNK:
            chunk = file.read(size)
            unpacked_size, crc = struct.unpack_from("<QI", chunk, 16)
            (compression,) = _texts(chunk[28:], 1)
            packed = chunk[28 + 4 + len(compression) + 8 :]
            inside = decompress(packed, compression, unpacked_size, crc)
            yield from _unpacked(io.BytesIO(inside), 0, len(inside))
        elif kind in (SCHEMA, CHANNEL):
            yield kind, file.read(size)
        elif kind == MESSAGE:
            yield kind, file.read(min(size, MESSAGE_HEAD_BYTES))
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
        self._foreign = Foreign()

    @property
    def foreign(self) -> dict[str, str]:
        """{topic: encoding} of what is not ROS 2; known once the file is open."""
        return self._foreign.topics

    def open(self) -> None:
        """Open the file."""
        path = Path(str(self.path))
        changed: Any = _ChangedPath(path, _changes(path, self._foreign))
        self.path = changed
        super().open()

    def read_index(self) -> None:
        """Read the summary; where it names no channel, the data do."""
        super().read_index()
        if self.statistics is None and not self.channels:
            self.meta_scan()

    def meta_scan(self) -> None:
        """Find the channels in the data themselves: rosbags' own scan, over a copy without data and without what is foreign."""
        file: Any = self.bio
        kept = io.BytesIO()
        for kind, content in _unpacked(file, self.data_start, self.data_end):
            if not self._foreign.holds(kind, content):
                kept.write(struct.pack("<BQ", kind, len(content)) + content)
        state = self.data_start, self.data_end
        self.bio, self.data_start, self.data_end = kept, 0, kept.tell()
        try:
            super().meta_scan()
        finally:
            self.bio = file
            self.data_start, self.data_end = state


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
