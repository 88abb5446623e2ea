"""Points between answers: carried along with the picture, known by a number, dropped when they are lost.

The model answers about a frame that is long past when the answer comes. The frames since are kept: the points are carried
through all of them, from the one that was asked about to the newest one.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from molmo_point.errors import UsageError
from molmo_point.points import Point, Pointing, Status
from molmo_point.tracking.flow import Floats, Frame, Patches
from molmo_point.wire import Track

DOUBTS = 3
"""Frames in a row that a point may go unrecognized; then it is lost."""

REMEMBER_S = 3.0
"""How long a lost point keeps its number, for when the model finds it again."""

MISSES = 2
"""Answers in a row without a point that flow still follows; then the model is believed."""

GATE = 0.05
"""How far, in parts of the picture's diagonal, an answer may lie from a followed point and still be the same thing."""

UNKNOWN_SIGMA = 0.01
"""Standard deviation of a point whose model gives none, in parts of the picture: about that of Molmo's single points."""

DRIFT_PX = 0.3
"""Standard deviation that one second of following adds, in working pixels."""


@dataclass(frozen=True)
class Followed:
    """One point that is followed.

    Attributes:
        number: Its identity; never used twice.
        query: What it answers.
        point: As the model gave it.
        seen_ns: Stamp of the frame that it was seen in.
        seen_s: Time of that frame, seconds.
        variance_px2: What following has added since, working pixels squared.
        misses: Answers in a row that did not have it.
    """

    number: int
    query: str
    point: Point
    seen_ns: int | None
    seen_s: float
    variance_px2: float = 0.0
    misses: int = 0


@dataclass(frozen=True)
class Lost:
    """A point that was lost: where it was last, and until when its number is kept."""

    number: int
    query: str
    uv: tuple[float, float]
    until_s: float


@dataclass(frozen=True)
class Kept:
    """A frame that was kept for answers to come."""

    frame: Frame
    stamp_ns: int | None
    time_s: float


class Tracker:
    """Follows the points of one camera. Belongs to one thread at a time; `Carrier` may run in another.

    Args:
        keep: Frames kept for answers to come: at 30 Hz 150 of them are five seconds and 46 MB. An answer about an older frame
            cannot be used.
        long_side: Frames are worked on at this size.

    Raises:
        MissingExtra: OpenCV is not installed.
    """

    def __init__(self, keep: int = 150, long_side: int = 640) -> None:
        if keep < 2:
            raise UsageError(f"expected to keep at least 2 frames, got {keep}")
        self._keep = keep
        self._long_side = long_side
        self._frames: OrderedDict[int, Kept] = OrderedDict()
        self._frame_numbers = itertools.count(1)
        self._numbers = itertools.count(1)
        self._newest = 0
        self._image_size = (1, 1)
        self._followed: list[Followed] = []
        self._patches: Patches | None = None
        self._lost: list[Lost] = []
        self.dropped = 0

    def add_frame(self, image: Any, time_s: float, stamp_ns: int | None = None) -> int:
        """Follow every point into the next frame.

        Args:
            image: (H, W, 3) uint8 RGB; all frames of a camera have one size.
            time_s: When it was taken, seconds on any clock that does not jump.
            stamp_ns: Its stamp, passed through.

        Returns:
            The frame's number, for `add_answer`.

        Raises:
            UsageError: A frame of another size.
        """
        size = (int(image.shape[1]), int(image.shape[0]))
        if self._frames and size != self._image_size:
            raise UsageError(f"expected frames of {self._image_size}, got one of {size}")
        self._image_size = size
        frame = Frame(image, self._long_side)
        before = self._frames.get(self._newest)
        if before is not None and self._patches is not None:
            self._follow(before, frame, time_s)
        if before is not None:
            before.frame.release()
        self._newest = next(self._frame_numbers)
        self._frames[self._newest] = Kept(frame, stamp_ns, time_s)
        while len(self._frames) > self._keep:
            self._frames.popitem(last=False)
        return self._newest

    def add_answer(self, frame: int, pointing: Pointing) -> bool:
        """Take in the model's answer about a frame: carry its points to the newest frame and give them their numbers.

        Returns:
            Whether it could be used: False when the frame is no longer kept.
        """
        carrier = self.carrier(frame, pointing)
        if carrier is None:
            return False
        carrier.run()
        return self.adopt(carrier)

    def carrier(self, frame: int, pointing: Pointing) -> Carrier | None:
        """Return the work of carrying an answer through the frames kept so far, to be run in any thread, then `adopt`ed."""
        if frame not in self._frames:
            return None
        kept = [entry for number, entry in self._frames.items() if number >= frame]
        return Carrier(kept, frame, pointing)

    def adopt(self, carrier: Carrier) -> bool:
        """Carry an answer through the frames that came while it was being carried, and take it in.

        Returns:
            False when those frames are no longer kept.
        """
        done = carrier.reached
        if done not in self._frames:
            return False
        rest = [entry for number, entry in self._frames.items() if number >= done]
        carrier.go_on(rest)
        self._take_in(carrier)
        return True

    def answer(
        self, query: str, model: str = "", frame_id: str | None = None
    ) -> tuple[Pointing, tuple[Track, ...]]:
        """Return the points of a query in the newest frame, and for each what is known about it.

        Raises:
            UsageError: There is no frame yet.
        """
        kept = self._frames.get(self._newest)
        if kept is None:
            raise UsageError("add a frame before asking where things are")
        chosen = [i for i, followed in enumerate(self._followed) if followed.query == query]
        points = tuple(self._point(i, index) for index, i in enumerate(chosen))
        tracks = tuple(
            Track(
                id=self._followed[i].number,
                evidence_stamp_ns=self._followed[i].seen_ns,
                evidence_age_s=max(0.0, kept.time_s - self._followed[i].seen_s),
            )
            for i in chosen
        )
        pointing = Pointing(
            query=query,
            points=points,
            status=Status.FOUND if points else Status.NOT_FOUND,
            image_size=self._image_size,
            model=model,
            stamp_ns=kept.stamp_ns,
            frame_id=frame_id,
        )
        return pointing, tracks

    def __len__(self) -> int:
        return len(self._followed)

    def _follow(self, before: Kept, after: Frame, time_s: float) -> None:
        patches = self._patches
        if patches is None:
            return
        start = patches.uv.copy()
        patches.step(before.frame, after)
        seconds = max(0.0, time_s - before.time_s)
        growth = DRIFT_PX**2 * seconds + 0.25 * patches.residual_px**2
        self._followed = [
            replace(followed, variance_px2=followed.variance_px2 + float(grown))
            for followed, grown in zip(self._followed, growth, strict=True)
        ]
        sure = (patches.doubt == 0) & patches.inside(after)
        # What is lost moves on with the rest of the picture, so that it is looked for in the right place.
        drift = np.median((patches.uv - start)[sure], axis=0) if sure.any() else np.zeros(2)
        patches.drift(drift)
        self._lost = [
            replace(lost, uv=(lost.uv[0] + float(drift[0]), lost.uv[1] + float(drift[1])))
            for lost in self._lost
            if lost.until_s >= time_s
        ]
        alive = (patches.doubt < DOUBTS) & patches.inside(after)
        self._drop(alive, time_s)

    def _drop(self, alive: Any, time_s: float) -> None:
        if self._patches is None or alive.all():
            return
        for i in np.flatnonzero(~alive):
            u, v = (float(value) for value in self._patches.sure_uv[i])
            followed = self._followed[i]
            self._lost.append(Lost(followed.number, followed.query, (u, v), time_s + REMEMBER_S))
            self.dropped += 1
        self._followed = [f for f, stays in zip(self._followed, alive, strict=True) if stays]
        self._patches.keep(alive)

    def _take_in(self, carrier: Carrier) -> None:
        query, patches = carrier.pointing.query, carrier.patches
        diagonal = float(np.hypot(*carrier.size))
        mine = [i for i, f in enumerate(self._followed) if f.query == query]
        lost = [entry for entry in self._lost if entry.query == query]
        places = [self._patches.uv[i] for i in mine] if self._patches is not None else []
        places += [np.array(entry.uv) for entry in lost]
        numbers = [self._followed[i].number for i in mine] + [entry.number for entry in lost]
        matches = _match(patches.uv, np.array(places).reshape(-1, 2), GATE * diagonal)
        taken = {numbers[old] for old in matches.values()}
        fresh = [
            Followed(
                number=numbers[matches[i]] if i in matches else next(self._numbers),
                query=query,
                point=point,
                seen_ns=carrier.asked.stamp_ns,
                seen_s=carrier.asked.time_s,
                variance_px2=float(carrier.variance_px2[i]),
            )
            for i, point in enumerate(carrier.points)
        ]
        self._lost = [entry for entry in self._lost if entry.number not in taken]
        # Half an answer does not say what is not there.
        complete = carrier.pointing.status in (Status.FOUND, Status.NOT_FOUND)
        stays = [self._outlasts(f, query, taken, complete) for f in self._followed]
        self._followed = [
            replace(f, misses=f.misses + 1) if f.query == query and complete else f
            for f, stay in zip(self._followed, stays, strict=True)
            if stay
        ]
        self._followed += fresh
        if self._patches is None:
            self._patches = patches
        else:
            self._patches.keep(np.array(stays, bool))
            self._patches.join(patches)

    @staticmethod
    def _outlasts(followed: Followed, query: str, taken: set[int], complete: bool) -> bool:
        if followed.query != query:
            return True
        return followed.number not in taken and (not complete or followed.misses + 1 < MISSES)

    def _point(self, i: int, index: int) -> Point:
        assert self._patches is not None  # there is a patch for every followed point
        followed = self._followed[i]
        frame = self._frames[self._newest].frame
        x, y = (self._patches.uv[i] + 0.5) / frame.size
        spread = followed.variance_px2 / np.square(np.array(frame.size, np.float64))
        base = followed.point.covariance or (UNKNOWN_SIGMA**2, 0.0, UNKNOWN_SIGMA**2)
        return Point(
            x=float(np.clip(x, 0, 1)),
            y=float(np.clip(y, 0, 1)),
            label=followed.point.label,
            score=followed.point.score,
            covariance=(base[0] + float(spread[0]), base[1], base[2] + float(spread[1])),
            index=index,
        )


class Carrier:
    """The points of one answer on their way through the kept frames. Touches nothing of the tracker.

    Attributes:
        points: Those of the answer that are still followed.
        patches: Where they are.
        reached: Number of the frame they are in.
    """

    def __init__(self, frames: list[Kept], first: int, pointing: Pointing) -> None:
        self.pointing = pointing
        self.asked = frames[0]
        self.size = frames[0].frame.size
        self.points = list(pointing.points)
        self.reached = first
        # Frames of its own: the tracker's drop their pyramids while this thread may be using them.
        self._at = Frame(frames[0].frame.grey, max(self.size))
        uv = np.array([(p.x, p.y) for p in self.points], np.float64).reshape(-1, 2)
        self.patches = Patches(self._at, uv * self.size - 0.5)
        self.variance_px2: Floats = np.zeros(len(self.points))
        self._time_s = frames[0].time_s
        self._frames = frames

    def run(self) -> None:
        """Carry through all the frames known at the start."""
        self.go_on(self._frames)
        self._frames = []

    def go_on(self, frames: list[Kept]) -> None:
        """Carry through `frames`, whose first one is where the points are now."""
        for kept in frames[1:]:
            after = Frame(kept.frame.grey, max(self.size))
            self.patches.step(self._at, after)
            seconds = max(0.0, kept.time_s - self._time_s)
            self.variance_px2 = (
                self.variance_px2 + DRIFT_PX**2 * seconds + 0.25 * self.patches.residual_px**2
            )
            alive = (self.patches.doubt < DOUBTS) & self.patches.inside(after)
            self.points = [p for p, stays in zip(self.points, alive, strict=True) if stays]
            self.variance_px2 = self.variance_px2[alive]
            self.patches.keep(alive)
            self._at, self._time_s = after, kept.time_s
            self.reached += 1


def _match(new: Floats, old: Floats, gate_px: float) -> dict[int, int]:
    """Pair new places with old ones, nearest pairs first, none farther apart than `gate_px`; return {new: old}."""
    if not len(new) or not len(old):
        return {}
    distance = np.linalg.norm(new[:, None] - old[None], axis=-1)
    pairs: dict[int, int] = {}
    for flat in np.argsort(distance, axis=None):
        i, j = divmod(int(flat), len(old))
        if distance[i, j] > gate_px:
            break
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs
