"""`Source`: the path of a recording and readers for it; compressed ones are unpacked, ROS 1 bags converted."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from molmo_robot.dds.types import RosTypes

PACKED = (".zst", ".zstd")
UNPACKED = (".mcap", ".db3")


class Source:
    """A recording on disk. Close it: it may have been unpacked into a temporary folder.

    Args:
        path: A rosbag2 folder, a .mcap or .db3 file (also with .zst or .zstd behind it), or a ROS 1 .bag file.
        types: Definitions of ROS 2, for ROS 1 bags.

    Raises:
        OSError: It cannot be unpacked.
    """

    def __init__(self, path: Path, types: RosTypes) -> None:
        self._types = types
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._path = path
        if path.suffix in PACKED and Path(path.stem).suffix in UNPACKED:
            self._folder = tempfile.TemporaryDirectory(prefix="molmo-point-bag-")
            self._path = Path(self._folder.name) / path.stem
            try:
                _unpack(path, self._path)
            except BaseException:
                self.close()
                raise

    def reader(self) -> Any:
        """Return an open reader with `connections`, `messages`, `start_time`, `message_count`, `foreign` and `close`."""
        reader: Any
        if self._path.suffix == ".bag":
            from molmo_robot.bag.ros1 import Ros1Reader

            reader = Ros1Reader(self._path, self._types.store)
        else:
            from molmo_robot.bag.mcap import TolerantReader

            reader = TolerantReader(self._path)
        reader.open()
        return reader

    def close(self) -> None:
        """Remove what was unpacked. Closing twice is allowed."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _unpack(packed: Path, unpacked: Path) -> None:
    # A dependency of rosbags where the standard library has none.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    with zstd.open(packed, "rb") as source, unpacked.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
