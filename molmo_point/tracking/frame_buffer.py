"""The frames that answers to come may be about, kept by time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from molmo_point.tracking.frame import Frame


@dataclass(frozen=True)
class BufferedFrame:
    """A kept frame.

    Attributes:
        number: Its place in the order of frames, from 1; never used twice.
        stamp_ns: The caller's stamp of the frame.
        time_s: When it was taken, seconds on a clock that does not jump.
    """

    number: int
    frame: Frame
    stamp_ns: int | None
    time_s: float


class FrameBuffer:
    """Frames in the order they came.

    A frame that an answer is expected about is kept however long the answer takes, with the frames since. More than `most`
    frames are thinned out, the old ones first: their spacing grows in proportion to their age, so memory is bounded.

    Args:
        keep_s: Frames older than this are dropped, unless an answer about them, or an earlier one, is expected.
        most: Most frames kept.
    """

    def __init__(self, keep_s: float, most: int) -> None:
        self._keep_s = keep_s
        self._most = most
        self._frames: list[BufferedFrame] = []
        self._expected: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def newest(self) -> BufferedFrame | None:
        """The frame that came last."""
        return self._frames[-1] if self._frames else None

    def add(self, frame: BufferedFrame) -> None:
        """Append a frame and drop what is no longer needed."""
        self._frames.append(frame)
        first = min(self._expected, default=frame.number)
        oldest_s = frame.time_s - self._keep_s
        self._frames = [f for f in self._frames if f.number >= first or f.time_s >= oldest_s]
        while len(self._frames) > self._most:
            del self._frames[self._most_crowded(frame.time_s)]

    def since(self, number: int) -> list[BufferedFrame]:
        """Return the frames from `number` on; empty when that one is no longer kept."""
        found = [f for f in self._frames if f.number >= number]
        return found if found and found[0].number == number else []

    def after(self, number: int) -> list[BufferedFrame]:
        """Return the kept frames that came later than `number`."""
        return [f for f in self._frames if f.number > number]

    def expect(self, number: int) -> None:
        """Keep a frame until `release` is called as often as this."""
        self._expected[number] += 1

    def release(self, number: int) -> None:
        """An answer about the frame is no longer expected."""
        self._expected[number] -= 1
        if self._expected[number] <= 0:
            del self._expected[number]

    def clear(self) -> None:
        """Drop all frames."""
        self._frames.clear()
        self._expected.clear()

    def _most_crowded(self, now_s: float) -> int:
        """Return the index of the frame whose removal leaves the smallest gap for its age; never the newest, the oldest or an
        expected one while another can go."""
        frames = self._frames
        free = [i for i in range(1, len(frames) - 1) if frames[i].number not in self._expected]

        def gap(i: int) -> float:
            age_s = max(now_s - frames[i].time_s, 1e-3)
            return (frames[i + 1].time_s - frames[i - 1].time_s) / age_s

        return min(free, key=gap, default=0)
