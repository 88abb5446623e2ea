"""`Lookahead`: the depth image and transforms of each image of a recording, found by stamps, in whatever order they were logged.

A recording is read in the order of its log. Depth, transforms and images were logged when they arrived, and that may be
seconds apart; a transform that is published once a second is known for an image only when the next one has come. So the
recording is read twice: once for the stamps alone, and once more ahead of the images, as far as each image needs.
"""

from __future__ import annotations

import contextlib
import struct
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from molmo_robot.bag.reader import BagError, Recording
from molmo_robot.ros_types import AnyImage, TFMessage
from molmo_robot.topics import Input

HOLD_NS = 120_000_000_000
"""Largest distance in seconds to read ahead for a transform; a rarer one says little about the time in between."""

CACHE_S = 30.0
MARGIN_S = 1.0

Stamps = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shot:
    """A chosen image: its index on its topic, its stamp and its log time, both in nanoseconds."""

    place: int
    stamp_ns: int
    log_ns: int


@dataclass
class Track:
    """The stamps of one frame's transforms, and when each was logged."""

    stamps: array[int] = field(default_factory=lambda: array("q"))
    logs: array[int] = field(default_factory=lambda: array("q"))


def stamp_of(data: bytes) -> int:
    """Return the stamp in ns of a message that begins with a `std_msgs/Header`, from its CDR bytes; 0 for too few bytes."""
    if len(data) < 12:
        return 0
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(sec * 1_000_000_000 + nanosec)


def frame_of(data: bytes) -> str:
    """Return the frame of a message that begins with a `std_msgs/Header`, from its CDR bytes; empty for too few bytes."""
    if len(data) < 16:
        return ""
    (size,) = struct.unpack_from("<I" if data[1] & 1 else ">I", data, 12)
    return data[16 : 16 + size].rstrip(b"\0").decode("utf-8", "replace").lstrip("/")


class Index:
    """The stamps of a recording: images, depth images and transforms. Reads it once.

    Args:
        recording: The recording.
        image: Topic of the images.
        sources: Subscriptions of the robot, by topic.
    """

    def __init__(self, recording: Recording, image: str, sources: Mapping[str, Input]) -> None:
        self.images: list[tuple[int, int]] = []
        self.depths: list[tuple[int, int]] = []
        self.parents: dict[str, set[str]] = {}
        self.tracks: dict[str, Track] = {}
        self.frames: set[str] = set()
        self.image_frames: set[str] = set()
        self.damaged: list[str] = []
        wanted = [t for t, s in sources.items() if s.role in ("depth", "moving", "fixed")]
        for connection, log_ns, data in recording.messages([image, *wanted]):
            if connection.topic == image:
                self.images.append((stamp_of(data), log_ns))
                self.image_frames.add(frame_of(data))
                continue
            source = sources[connection.topic]
            check_type(connection, source)
            if source.role == "depth":
                self.depths.append((stamp_of(data), log_ns))
                self.frames.add(frame_of(data))
                continue
            try:
                message = recording.decode(connection, data)
            except BagError as error:
                self.damaged.append(str(error))
            else:
                self._transforms(message, log_ns, source.role)

    def _transforms(self, message: TFMessage, log_ns: int, role: str) -> None:
        for stamped in message.transforms:
            child = stamped.child_frame_id.lstrip("/")
            self.parents.setdefault(child, set()).add(stamped.header.frame_id.lstrip("/"))
            if role == "moving":
                stamp = stamped.header.stamp
                track = self.tracks.setdefault(child, Track())
                track.stamps.append(stamp.sec * 1_000_000_000 + stamp.nanosec)
                track.logs.append(log_ns)

    def relevant(self, frames: Collection[str]) -> set[str]:
        """Return some frames and all their ancestors."""
        found: set[str] = set()
        waiting = [*frames, *self.frames, *self.image_frames]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self.parents.get(name, ()))
        return found


class Lookahead:
    """Reads ahead of the images: transforms go to the robot, the depth image of each image is kept for it.

    Args:
        recording: The recording; opened once more for this.
        index: Its stamps.
        shots: The chosen images, in log order.
        sources: Subscriptions of the robot, by topic.
        frames: What positions are asked for in, in addition to the frames of the messages.
    """

    def __init__(
        self,
        recording: Recording,
        index: Index,
        shots: Sequence[Shot],
        sources: Mapping[str, Input],
        frames: Collection[str],
    ) -> None:
        self._sources = sources
        self._relevant = index.relevant(frames)
        self._seen: set[str] = set()
        self._depth_of = _nearest(shots, index.depths)
        self._kept: dict[int, tuple[Any, bytes]] = {}
        self._left = dict.fromkeys(self._depth_of.values(), 0)
        for depth in self._depth_of.values():
            self._left[depth] += 1
        self.ready, self.cache_s = self._plan(shots, index)
        topics = [t for t, s in sources.items() if s.role in ("depth", "moving")]
        self._ahead = recording.again()
        self._messages = self._ahead.messages(topics)
        self._next: tuple[Any, int, bytes] | None = next(self._messages, None)
        self._depths_read = 0

    def _plan(self, shots: Sequence[Shot], index: Index) -> tuple[dict[int, int], float]:
        """Return {image index: log time to read up to}, and the seconds of transforms to keep."""
        ready = {shot.place: shot.log_ns for shot in shots}
        for shot in shots:
            depth = self._depth_of.get(shot.place)
            if depth is not None:
                ready[shot.place] = max(ready[shot.place], index.depths[depth][1])
        tracks = [_sorted(t) for name, t in index.tracks.items() if name in self._relevant]
        stamps = np.array([shot.stamp_ns for shot in shots], np.int64)
        for by_stamp, logs in tracks:
            after = np.searchsorted(by_stamp, stamps, "left")
            for shot, at in zip(shots, after.tolist(), strict=True):
                if at < len(by_stamp):
                    until = min(int(logs[at]), shot.log_ns + HOLD_NS)
                    ready[shot.place] = max(ready[shot.place], until)
        return ready, max(CACHE_S, self._reach_s(shots, index, ready, tracks))

    def _reach_s(
        self,
        shots: Sequence[Shot],
        index: Index,
        ready: Mapping[int, int],
        tracks: Sequence[tuple[Stamps, Stamps]],
    ) -> float:
        """Seconds from the oldest transform that an image needs to the newest one that has been read for it."""
        if not tracks or not shots:
            return 0.0
        logs = np.concatenate([by_log for _, by_log in tracks])
        stamps = np.concatenate([by_stamp for by_stamp, _ in tracks])
        order = np.argsort(logs, kind="stable")
        newest = np.maximum.accumulate(stamps[order])
        reach_ns, highest = 0, 0
        for shot in sorted(shots, key=lambda s: ready[s.place]):
            highest = max(highest, ready[shot.place])
            read = int(np.searchsorted(logs[order], highest, "right")) - 1
            if read < 0:
                continue
            for by_stamp, _ in tracks:
                before = int(np.searchsorted(by_stamp, shot.stamp_ns, "right")) - 1
                if before >= 0:
                    reach_ns = max(reach_ns, int(newest[read] - by_stamp[before]))
        return reach_ns / 1e9 + MARGIN_S

    def until(self, place: int) -> None:
        """Read as far as an image needs."""
        while self._next is not None and self._next[1] <= self.ready[place]:
            connection, _, data = self._next
            source = self._sources[connection.topic]
            if source.role == "depth":
                if self._left.get(self._depths_read):
                    self._kept[self._depths_read] = connection, data
                self._depths_read += 1
            else:
                # The index has reported what cannot be decoded.
                with contextlib.suppress(BagError):
                    self._give(source, self._ahead.decode(connection, data))
            self._next = next(self._messages, None)

    def depth(self, place: int) -> AnyImage | None:
        """Return the depth message closest to an image, or None where the recording has none; once for each image."""
        number = self._depth_of.get(place)
        if number is None:
            return None
        connection, data = self._kept[number]
        self._left[number] -= 1
        if not self._left[number]:
            del self._kept[number]
        return self._ahead.decode(connection, data)

    def close(self) -> None:
        """Close the second reader."""
        self._ahead.close()

    def _give(self, source: Input, message: Any) -> None:
        """Hand over the transforms that the images need; of every other frame only the first, so that its name is known."""
        names = [stamped.child_frame_id.lstrip("/") for stamped in message.transforms]
        message.transforms = [
            stamped
            for name, stamped in zip(names, message.transforms, strict=True)
            if name in self._relevant or name not in self._seen
        ]
        self._seen.update(names)
        if message.transforms:
            source.receive(message)


def check_type(connection: Any, source: Input) -> None:
    """Refuse a topic of another type than the robot subscribes to.

    Raises:
        BagError: Its type is another one.
    """
    if connection.msgtype != source.type_name:
        raise BagError(
            f"{connection.topic}: expected {source.type_name}, found {connection.msgtype}"
        )


def _sorted(track: Track) -> tuple[Stamps, Stamps]:
    stamps, logs = np.array(track.stamps, np.int64), np.array(track.logs, np.int64)
    order = np.argsort(stamps, kind="stable")
    return stamps[order], logs[order]


def _nearest(shots: Sequence[Shot], depths: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return {image index: number of the depth image with the nearest stamp}."""
    if not depths:
        return {}
    stamps = np.array([stamp for stamp, _ in depths], np.int64)
    order = np.argsort(stamps, kind="stable")
    ordered = stamps[order]
    found = {}
    for shot in shots:
        at = int(np.searchsorted(ordered, shot.stamp_ns))
        around: Iterator[int] = (i for i in (at, at - 1) if 0 <= i < len(ordered))
        best = min(around, key=lambda i: abs(int(ordered[i]) - shot.stamp_ns))
        found[shot.place] = int(order[best])
    return found
