"""`BagWriter`: a copy of a recording with topics added; what was there keeps its bytes, stamps, types and QoS."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from molmo_robot.bag.reader import BagError, Recording
from molmo_robot.dds.types import RosTypes

STORAGES = ("mcap", "sqlite3")

NO_HASH = "RIHS01_" + "0" * 64
"""For types whose definition neither the recording nor the distribution has: their bytes are still copied."""


class BagWriter:
    """A recording being written; it gets its name when `finish` is called.

    Args:
        path: `NAME.mcap` for one file, anything else for a rosbag2 folder.
        storage: Of a folder: mcap or sqlite3.

    Raises:
        BagError: Something is there already, or an unknown storage.
    """

    def __init__(self, path: Path, storage: str = "mcap") -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        if path.exists():
            raise BagError(f"{path} is there already: give another name, or remove it")
        if storage not in STORAGES:
            raise BagError(f"--storage: expected {' or '.join(STORAGES)}, got {storage!r}")
        self._single = path.suffix == ".mcap"
        self._path = path
        self._part = path.with_name(path.name + ".part")
        shutil.rmtree(self._part, ignore_errors=True)
        plugin = StoragePlugin.MCAP if self._single or storage == "mcap" else StoragePlugin.SQLITE3
        self._inner = self._part / path.name.removesuffix(".mcap")
        self._writer: Any = Writer(self._inner, version=9, storage_plugin=plugin)
        self._writer.open()
        self._connections: dict[Any, Any] = {}
        self.topics: set[str] = set()

    def take_over(self, recording: Recording) -> list[str]:
        """Create every topic of a recording; return those without a known definition."""
        unknown = []
        for connection in recording.connections:
            definition, digest = connection.msgdef.data, connection.digest
            if not definition or not str(digest).startswith("RIHS01_"):
                definition, digest = self._definition(recording, connection.msgtype)
            if digest == NO_HASH:
                unknown.append(f"{connection.topic} ({connection.msgtype})")
            self._connections[connection.id, id(connection.owner)] = self._writer.add_connection(
                connection.topic,
                connection.msgtype,
                msgdef=definition,
                rihs01=digest,
                serialization_format=connection.ext.serialization_format,
                offered_qos_profiles=connection.ext.offered_qos_profiles,
            )
            self.topics.add(connection.topic)
        return unknown

    def add_topic(self, topic: str, type_name: str, types: RosTypes) -> None:
        """Create a result topic.

        Raises:
            BagError: The recording has it already.
        """
        if topic in self.topics:
            raise BagError(
                f"{topic} is in the recording already: give another --prefix for the results"
            )
        self._connections[topic] = self._writer.add_connection(
            topic, type_name, typestore=types.store
        )

    def copy(self, connection: Any, stamp_ns: int, data: bytes) -> None:
        """Write a message of the recording."""
        self._writer.write(self._connections[connection.id, id(connection.owner)], stamp_ns, data)

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Write a result message."""
        self._writer.write(self._connections[topic], stamp_ns, data)

    def finish(self) -> None:
        """Complete the files and give them their name."""
        self._writer.close()
        if self._single:
            os.replace(next(self._inner.glob("*.mcap")), self._path)
        else:
            os.replace(self._inner, self._path)
        shutil.rmtree(self._part, ignore_errors=True)

    def discard(self) -> None:
        """Delete what was written so far."""
        self._writer.close()
        shutil.rmtree(self._part, ignore_errors=True)

    @staticmethod
    def _definition(recording: Recording, type_name: str) -> tuple[str, str]:
        store = recording.types.store
        if type_name not in store.fielddefs:
            return f"# the definition of {type_name} is not known\n", NO_HASH
        text, _ = store.generate_msgdef(type_name, ros_version=2)
        return text, store.hash_rihs01(type_name)
