"""Patches tracked from frame to frame: pyramidal Lucas-Kanade forth and back, then alignment with their first appearance.

Flow from frame to frame accumulates small errors and follows an occluder. So each patch keeps its first appearance and is aligned
with it after every step (Shi and Tomasi's affine consistency, solved by Baker and
Matthews' inverse compositional Gauss-Newton): this removes drift, and a patch that no longer looks like itself is detected.
A patch that is not recognized stays where it was recognized last, moved by the median motion of the others: shadow edges and
occluders do not carry it away, and it is recognized again when they have passed.

Positions are `uv`: pixels of the working image, pixel centres on integers, float64 (N, 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_point.tracking.frame import LEVELS, Bools, Floats, Frame
from molmo_point.tracking.opencv import cv2
from molmo_point.tracking.patches import (
    GRID,
    SIDE,
    WEIGHT,
    WIDE_GRID,
    common_motion,
    invert,
    is_plausible,
    normalize,
    spread,
    weaker_gradient,
    worst_quarter,
)

WINDOW = (21, 21)
ROUNDS = 5
"""Gauss-Newton iterations; from the flow's estimate three are usually enough."""

SETTLED_PX = 0.02
"""A step smaller than this ends the rounds, pixels of the patch's level."""

ENOUGH_GRADIENT = 5.0
"""Grey levels per pixel, in the weaker direction: below it a patch slides along its edges."""

BACK_PX = 1.0
"""Largest distance in pixels between the start of a patch and its end after flow forth and back."""

ALIKE = 0.75
"""Least correlation with its first look. A patch half covered by something else has about 0.5."""

ALIKE_ELSEWHERE = 0.85
"""The same where flow did not lead: at the predicted place of a lost patch, or at a new point that may be the same thing."""

JUMP_PX = 4.0
"""How far alignment may move a patch from where the flow put it, in pixels of its level."""

COVERED = 0.9
"""Largest mean squared difference in a quarter of a patch, in variances: one that something else covers differs by one or more,
while noise spreads over all four."""

AGREE_PX = (0.3, 0.2)
"""Where flow there and back agrees, alignment may correct it by this many pixels, and this many of the patch's level, and more in
noise; beyond, one of them follows something else (a shadow's edge across a large patch, an occluder)."""

PULLED, PULL_MEMORY = 3.0, 0.9
"""Most of that tolerance that the corrections of about the last ten frames may add up to. Errors of flow cancel each other;
an edge that wanders over the patch pulls it one way."""

NEAR_PX = 4.0
"""How far from its predicted place a lost patch is recognized again, pixels."""

CERTAIN = 0.9
"""Correlation from which a patch's place has no more than its own small error; below, the place grows uncertain."""

Ints = NDArray[np.int64]


class FlowTracks:
    """Patches tracked together: where each is, its warp since the first frame, and whether it is recognized.

    Attributes:
        uv: (N, 2) positions in the newest frame.
        sure_uv: (N, 2) where each was recognized last, moved since by the median motion of the recognized ones.
        doubt: (N,) int: for how many frames in a row it could not be recognized; 0 = recognized now.
        residual_px: (N,) how far off the last step's flow there and back was, pixels.
        blur_px: (N,) standard deviation of the place that the newest frame alone leaves open, pixels: from a weak correlation,
            or while a patch is in doubt from the distance between where flow went and where it is predicted.
    """

    def __init__(self, frame: Frame, uv: Floats) -> None:
        count = len(uv)
        self.uv = np.asarray(uv, np.float64).reshape(count, 2).copy()
        self.sure_uv = self.uv.copy()
        self.doubt = np.zeros(count, np.int64)
        self.residual_px = np.zeros(count)
        self.blur_px = np.zeros(count)
        self._pull = np.zeros((count, 2))
        self._warp = np.tile(np.eye(2), (count, 1, 1))
        self._level = np.zeros(count, np.int64)
        self._look = np.zeros((count, SIDE * SIDE), np.float32)
        self._descent = np.zeros((count, SIDE * SIDE, 6), np.float32)
        self._hessian_inverse = np.zeros((count, 6, 6))
        if count:
            self._learn(frame, np.arange(count))

    def __len__(self) -> int:
        return len(self.uv)

    @property
    def half_side_px(self) -> Floats:
        """Half the side of each patch in pixels of the frame, (N,)."""
        half: Floats = SIDE / 2 * 2.0**self._level
        return half

    def keep(self, mask: Bools) -> None:
        """Drop the patches where `mask`, (N,) bool, is False."""
        for name, value in vars(self).items():
            setattr(self, name, value[mask])

    def join(self, other: FlowTracks) -> None:
        """Append the patches of `other`."""
        for name, value in vars(self).items():
            setattr(self, name, np.concatenate([value, getattr(other, name)]))

    def step(self, before: Frame, after: Frame) -> None:
        """Follow every patch from one frame to the next."""
        if not len(self):
            return
        every = np.arange(len(self))
        start = self.uv.copy()
        flowed, steady = self._flow(before, after)
        there = self._align(after, flowed, every)
        # Alignment with the first look is the stronger evidence; flow alone can be led away by what covers the patch.
        tolerance = AGREE_PX[0] + AGREE_PX[1] * 2.0**self._level + 2.0 * (1.0 - there.alike)
        self._pull = PULL_MEMORY * self._pull + (there.uv - flowed)
        pulled = np.linalg.norm(self._pull, axis=1)
        agree = (there.moved(flowed) <= tolerance) & (pulled <= PULLED * tolerance)
        recognized = there.fits(flowed, self._level, ALIKE) & np.where(
            steady, agree, there.alike > CERTAIN
        )
        drift = common_motion((there.uv - start)[recognized & (self.doubt == 0)], len(self))
        predicted = self.sure_uv + drift
        left = np.flatnonzero(~recognized & _within(predicted, after))
        back = self._align(after, predicted[left], left)
        near = back.moved(predicted[left]) <= NEAR_PX
        again = back.fits(predicted[left], self._level[left], ALIKE_ELSEWHERE) & near
        self._place(there, recognized)
        self._doubt(flowed, predicted, ~recognized)
        self._place(back, again, left)
        stretched = (self.doubt == 0) & (np.abs(np.log(np.linalg.det(self._warp))) > np.log(2.0))
        if stretched.any():
            # Twice as large or small by area: sampled too coarsely or finely by now, so it gets a new first look.
            self._learn(after, np.flatnonzero(stretched))

    def recognize(self, frame: Frame, which: Ints, uv: Floats, within_px: float) -> Bools:
        """Return whether the first look of each patch of `which`, (M,), is found within `within_px` of `uv`, (M, 2)."""
        if not len(which):
            return np.zeros(0, bool)
        found = self._align(frame, uv, which)
        near = found.moved(uv) <= within_px
        return found.fits(uv, self._level[which], ALIKE_ELSEWHERE) & near

    def inside(self, frame: Frame) -> Bools:
        """Return which positions lie in the image, (N,) bool."""
        return _within(self.uv, frame)

    def _flow(self, before: Frame, after: Frame) -> tuple[Floats, Bools]:
        """Return where flow takes the patches, and which of them it brings back to their start."""
        start = self.uv.astype(np.float32)[:, None]
        there, found = _flow(before, after, start)
        back, returned = _flow(after, before, there)
        self.residual_px = np.linalg.norm((back - start)[:, 0].astype(np.float64), axis=1)
        # A point of a coarse level has no more than that level's precision.
        steady = found & returned & (self.residual_px <= BACK_PX * 2.0**self._level)
        return there[:, 0].astype(np.float64), steady

    def _place(self, found: _Aligned, good: Bools, which: Ints | None = None) -> None:
        """Put the patches of `which` that are `good` where their first look was found."""
        chosen = np.flatnonzero(good) if which is None else which[good]
        self.uv[chosen] = self.sure_uv[chosen] = found.uv[good]
        self._warp[chosen] = found.warp[good]
        self.doubt[chosen] = 0
        weak = np.maximum(0.0, CERTAIN - found.alike[good])
        self.blur_px[chosen] = 2 * weak * self.half_side_px[chosen]

    def _doubt(self, flowed: Floats, predicted: Floats, lost: Bools) -> None:
        """Leave those that are `lost` at their predicted places."""
        self.uv[lost] = self.sure_uv[lost] = predicted[lost]
        self.doubt[lost] += 1
        self.blur_px[lost] = np.linalg.norm(flowed - predicted, axis=1)[lost]

    def _learn(self, frame: Frame, which: Ints) -> None:
        """Take the first look of the patches `which` from `frame`, each at the finest level that has texture."""
        left = which
        for level in range(frame.levels()):
            self._level[left] = level
            self._warp[left] = np.eye(2)
            places = (self.uv[left][:, None] / 2.0**level + WIDE_GRID).astype(np.float32)
            wide = frame.sample(self._level[left], places)[0].reshape(-1, SIDE + 2, SIDE + 2)
            # Central differences.
            gy = ((wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2).reshape(len(left), -1)
            gx = ((wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2).reshape(len(left), -1)
            look = wide[:, 1:-1, 1:-1].reshape(len(left), -1)
            deviation = spread(look, WEIGHT)
            self._look[left] = normalize(look, WEIGHT)
            self._prepare(left, gx / deviation, gy / deviation)
            left = left[weaker_gradient(gx, gy) < ENOUGH_GRADIENT]
            if not len(left):
                return

    def _prepare(self, which: Any, gx: Floats, gy: Floats) -> None:
        x, y = GRID[:, 0], GRID[:, 1]
        descent = np.stack([gx * x, gy * x, gx * y, gy * y, gx, gy], axis=-1)
        hessian = np.einsum("npi,npj->nij", descent * WEIGHT[:, None], descent).astype(np.float64)
        # Weak patches must not be torn apart: a little resistance against every change of shape, none against moves.
        scale = np.einsum("nii->n", hessian) / 6 + 1e-9
        damping = np.diag([1e-3, 1e-3, 1e-3, 1e-3, 1e-6, 1e-6])
        self._descent[which] = descent
        self._hessian_inverse[which] = np.linalg.inv(hessian + scale[:, None, None] * damping)

    def _align(self, frame: Frame, guess: Floats, which: Ints) -> _Aligned:
        """Return where and how the patches `which` fit their first looks best, starting from `guess`, (M, 2)."""
        uv, warp = guess.copy(), self._warp[which]
        if not len(which):
            return _Aligned(uv, warp, np.zeros(0), np.zeros(0))
        scale = 2.0 ** self._level[which][:, None]
        for _ in range(ROUNDS):
            now, look, weight = self._compare(frame, uv, warp, which)
            gradient = ((now - look) * weight)[:, None] @ self._descent[which]
            step = (self._hessian_inverse[which] @ gradient[:, 0, :, None])[..., 0]
            change = np.eye(2) + step[:, [0, 2, 1, 3]].reshape(-1, 2, 2)
            warp = warp @ invert(change)
            move = (warp @ step[:, 4:, None])[..., 0]
            uv = uv - move * scale
            if np.abs(move).max() < SETTLED_PX:
                break
        now, look, weight = self._compare(frame, uv, warp, which)
        return _Aligned(
            uv, warp, (now * look * weight).sum(axis=1), worst_quarter(now, look, weight)
        )

    def _compare(
        self, frame: Frame, uv: Floats, warp: Floats, which: Ints
    ) -> tuple[Floats, Floats, Floats]:
        """Return how the patches look now and looked at first, both normalized, and the weight of each of their pixels.

        Pixels outside the image weigh nothing. All are (M, SIDE * SIDE) float32.
        """
        level = self._level[which]
        centres = uv / 2.0 ** level[:, None]
        places = (centres[:, None] + GRID @ np.swapaxes(warp, 1, 2)).astype(np.float32)
        now, inside = frame.sample(level, places)
        if inside.all():
            return normalize(now, WEIGHT), self._look[which], WEIGHT
        weight = np.where(inside, WEIGHT, np.float32(0))
        total = weight.sum(axis=1, keepdims=True)
        # A sliver of a patch is no evidence: it keeps its full weight outside, where it finds only the border.
        weight = np.where(total > 0.4, weight / np.maximum(total, 1e-6), WEIGHT)
        return normalize(now, weight), normalize(self._look[which], weight), weight


@dataclass(frozen=True, eq=False)
class _Aligned:
    """Where alignment ended: places (M, 2), warps (M, 2, 2), correlations with the first looks (M,), and the mean squared
    difference from them in the quarter of each patch that differs most (M,), in variances of the patch."""

    uv: Floats
    warp: Floats
    alike: Floats
    worst: Floats

    def moved(self, guess: Floats) -> Floats:
        """Return how far each ended from its guess, pixels, (M,)."""
        distance: Floats = np.linalg.norm(self.uv - guess, axis=1)
        return distance

    def fits(self, guess: Floats, level: Ints, alike: float) -> Bools:
        """Return which are close enough to their first look and to the guess, and plausibly warped, (M,) bool."""
        moved = self.moved(guess) / 2.0**level
        whole = (self.alike >= alike) & (self.worst <= COVERED)
        return np.asarray(whole & (moved <= JUMP_PX) & is_plausible(self.warp), bool)


def _within(uv: Floats, frame: Frame) -> Bools:
    limit = np.array(frame.size) - 0.5
    return np.asarray(((uv >= -0.5) & (uv <= limit)).all(axis=1), bool)


def _flow(before: Frame, after: Frame, places: Any) -> tuple[Any, Bools]:
    """Return where the flow takes `places`, (N, 1, 2) float32, and which of them it could follow, (N,) bool."""
    nothing: Any = None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before.grey, after.grey, places, nothing, winSize=WINDOW, maxLevel=LEVELS - 1
    )
    return moved, np.asarray(found)[:, 0].astype(bool)
