"""Patches followed from one frame to the next: pyramidal Lucas-Kanade there and back, then aligned with their first look.

Flow from frame to frame says where a patch went, but its small errors add up, and it follows whatever covers the patch. So each
patch keeps its first look and is aligned with it after every step (Shi and Tomasi's affine consistency, solved by Baker and
Matthews' inverse compositional Gauss-Newton): the drift goes, and a patch that no longer looks like itself is told apart.

Positions are `uv`: pixels of the working picture, pixel centres on integers, float64 (N, 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from molmo_point.install import import_failure

try:
    import cv2
except ImportError as error:
    raise import_failure(error, "cv2", "tracking", "following points between answers") from error

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

LEVELS = 4
"""Of the pyramid: patches are looked at in full, half, quarter or eighth resolution, the finest that has texture."""

WINDOW = (21, 21)
SIDE = 21
"""Of a patch, in pixels of its level."""

ROUNDS = 5
"""Of Gauss-Newton; from the flow's guess three usually do."""

SETTLED_PX = 0.02
"""A step smaller than this ends the rounds, pixels of the patch's level."""

ENOUGH_GRADIENT = 5.0
"""Grey levels per pixel, in the weaker direction: below it a patch slides along its edges."""

BACK_PX = 1.0
"""How far from its start a patch may end that is followed forth and back."""

ALIKE = 0.75
"""Least correlation with its first look. A patch half covered by something else has about 0.5."""

JUMP_PX = 4.0
"""How far alignment may move a patch from where the flow put it, in pixels of its level."""

_STEPS = np.arange(SIDE) - SIDE // 2
_GRID = np.stack(np.meshgrid(_STEPS, _STEPS), axis=-1).reshape(-1, 2).astype(np.float64)
_WIDE_STEPS = np.arange(SIDE + 2) - SIDE // 2 - 1
_WIDE = np.stack(np.meshgrid(_WIDE_STEPS, _WIDE_STEPS), axis=-1).reshape(-1, 2).astype(np.float64)
# The middle counts most: it is the point, the rim may belong to the background.
_WEIGHT = np.exp(-(_GRID**2).sum(axis=1) / (2 * (SIDE / 3) ** 2))
_WEIGHT = (_WEIGHT / _WEIGHT.sum()).astype(np.float32)


class Frame:
    """One picture of the camera, in grey, at working size.

    Args:
        image: (H, W, 3) uint8 RGB or (H, W) uint8.
        long_side: Pictures that are larger are made smaller; flow does not need more.

    Attributes:
        grey: (h, w) uint8.
        size: (w, h).
    """

    def __init__(self, image: np.ndarray[Any, np.dtype[np.uint8]], long_side: int = 640) -> None:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
        scale = long_side / max(grey.shape)
        if scale < 1:
            size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        self.grey: np.ndarray[Any, np.dtype[np.uint8]] = np.ascontiguousarray(grey)
        self.size = (int(grey.shape[1]), int(grey.shape[0]))
        self._mosaic: Any = None
        self._sizes: Floats = np.empty((0, 2), np.float32)
        self._tops: Floats = np.empty(0, np.float32)

    def release(self) -> None:
        """Drop the pyramid; the grey picture stays."""
        self._mosaic = None

    def levels(self) -> int:
        """Return how many levels the pyramid has; small pictures have fewer."""
        self._build()
        return len(self._tops)

    def sample(self, level: Any, places: Floats) -> tuple[Floats, Bools]:
        """Read grey values between pixels, bilinear.

        Args:
            level: (N,) level of each row.
            places: (N, P, 2) float32, uv in pixels of that level.

        Returns:
            (N, P) float32 grey values, and (N, P) bool: which places lie in the picture.
        """
        self._build()
        most = (self._sizes[level] - 1)[:, None]
        nearest: Floats = np.minimum(np.maximum(places, 0), most).astype(np.float32)
        inside: Bools = (nearest == places).all(axis=-1)
        rows = nearest[..., 1] + self._tops[level][:, None]
        columns = np.ascontiguousarray(nearest[..., 0])
        values: Any = cv2.remap(self._mosaic, columns, rows, cv2.INTER_LINEAR)
        return values, inside

    def _build(self) -> None:
        """Put all levels of the pyramid below each other in one picture, so that one call reads from all of them."""
        if self._mosaic is not None:
            return
        levels: list[Any] = [self.grey]
        while len(levels) < LEVELS and min(levels[-1].shape) >= 2 * SIDE:
            levels.append(cv2.pyrDown(levels[-1]))
        heights = [level.shape[0] for level in levels]
        self._tops = np.cumsum([0, *heights[:-1]]).astype(np.float32)
        sizes: Any = [level.shape[::-1] for level in levels]
        self._sizes = np.array(sizes).astype(np.float32)
        self._mosaic = np.zeros((sum(heights), self.size[0]), np.float32)
        for top, level in zip(self._tops, levels, strict=True):
            self._mosaic[int(top) : int(top) + level.shape[0], : level.shape[1]] = level


class Patches:
    """Patches that are followed together: where each is, how it was warped since its first look, and whether it still is itself.

    Attributes:
        uv: (N, 2) positions in the newest frame.
        sure_uv: (N, 2) where each was recognized last; moved on by `drift`.
        doubt: (N,) int: for how many frames in a row it could not be recognized.
        residual_px: (N,) how far off the last step's flow there and back was, pixels.
    """

    def __init__(self, frame: Frame, uv: Floats) -> None:
        count = len(uv)
        self.uv = np.asarray(uv, np.float64).reshape(count, 2).copy()
        self.sure_uv = self.uv.copy()
        self.doubt = np.zeros(count, np.int64)
        self.residual_px = np.zeros(count)
        self._warp = np.tile(np.eye(2), (count, 1, 1))
        self._level = np.zeros(count, np.int64)
        self._look = np.zeros((count, SIDE * SIDE), np.float32)
        self._descent = np.zeros((count, SIDE * SIDE, 6), np.float32)
        self._hessian_inverse = np.zeros((count, 6, 6))
        if count:
            self._learn(frame, np.arange(count))

    def __len__(self) -> int:
        return len(self.uv)

    def keep(self, mask: Bools) -> None:
        """Drop the patches where `mask`, (N,) bool, is False."""
        for name, value in vars(self).items():
            setattr(self, name, value[mask])

    def join(self, other: Patches) -> None:
        """Append the patches of `other`."""
        for name, value in vars(self).items():
            setattr(self, name, np.concatenate([value, getattr(other, name)]))

    def step(self, before: Frame, after: Frame) -> None:
        """Follow every patch from one frame to the next."""
        if not len(self):
            return
        start = self.uv.astype(np.float32)[:, None]
        there, found = _flow(before, after, start)
        back, returned = _flow(after, before, there)
        self.residual_px = np.linalg.norm((back - start)[:, 0].astype(np.float64), axis=1)
        # A point of a coarse level has no more than that level's precision.
        allowed = BACK_PX * 2.0**self._level
        steady = found & returned & (self.residual_px <= allowed)
        flowed = there[:, 0].astype(np.float64)
        aligned, warp, alike = self._align(after, flowed)
        moved = np.linalg.norm(aligned - flowed, axis=1) / 2.0**self._level
        itself = (alike >= ALIKE) & (moved <= JUMP_PX) & _sane(warp)
        self.uv = np.where(itself[:, None], aligned, flowed)
        self._warp = np.where(itself[:, None, None], warp, self._warp)
        # Alignment with the first look is the stronger witness; flow alone can be led away by what covers the patch.
        self.doubt = np.where(itself & (steady | (alike > 0.9)), 0, self.doubt + 1)
        self.sure_uv = np.where((self.doubt == 0)[:, None], self.uv, self.sure_uv)
        stretched = itself & (np.abs(np.log(np.linalg.det(self._warp))) > np.log(2.0))
        if stretched.any():
            # Twice as large or small by area: sampled too coarsely or finely by now, so it gets a new first look.
            self._learn(after, np.flatnonzero(stretched))

    def drift(self, by: Floats) -> None:
        """Move the places of those that are in doubt by `by`, (2,): with the rest of the picture."""
        self.sure_uv[self.doubt > 0] += by

    def inside(self, frame: Frame) -> Bools:
        """Return which positions lie in the picture, (N,) bool."""
        limit = np.array(frame.size) - 0.5
        inside: Bools = ((self.uv >= -0.5) & (self.uv <= limit)).all(axis=1)
        return inside

    def _learn(self, frame: Frame, which: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Take the first look of the patches `which` from `frame`, each at the finest level that has texture."""
        left = which
        for level in range(frame.levels()):
            self._level[left] = level
            self._warp[left] = np.eye(2)
            places = (self.uv[left][:, None] / 2.0**level + _WIDE).astype(np.float32)
            wide = frame.sample(self._level[left], places)[0].reshape(-1, SIDE + 2, SIDE + 2)
            # Central differences.
            gy = ((wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2).reshape(len(left), -1)
            gx = ((wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2).reshape(len(left), -1)
            look = wide[:, 1:-1, 1:-1].reshape(len(left), -1)
            spread = _spread(look, _WEIGHT)
            self._look[left] = _normalize(look, _WEIGHT)
            self._prepare(left, gx / spread, gy / spread)
            left = left[_weaker_gradient(gx, gy) < ENOUGH_GRADIENT]
            if not len(left):
                return

    def _prepare(self, which: Any, gx: Floats, gy: Floats) -> None:
        x, y = _GRID[:, 0], _GRID[:, 1]
        descent = np.stack([gx * x, gy * x, gx * y, gy * y, gx, gy], axis=-1)
        hessian = np.einsum("npi,npj->nij", descent * _WEIGHT[:, None], descent).astype(np.float64)
        # Weak patches must not be torn apart: a little resistance against every change of shape, none against moves.
        scale = np.einsum("nii->n", hessian) / 6 + 1e-9
        damping = np.diag([1e-3, 1e-3, 1e-3, 1e-3, 1e-6, 1e-6])
        self._descent[which] = descent
        self._hessian_inverse[which] = np.linalg.inv(hessian + scale[:, None, None] * damping)

    def _align(self, frame: Frame, guess: Floats) -> tuple[Floats, Floats, Floats]:
        """Return (positions, warps, correlations) that fit the first looks best, starting from `guess`."""
        uv, warp = guess.copy(), self._warp.copy()
        scale = 2.0 ** self._level[:, None]
        for _ in range(ROUNDS):
            now, look, weight = self._compare(frame, uv, warp)
            gradient = ((now - look) * weight)[:, None] @ self._descent
            step = (self._hessian_inverse @ gradient[:, 0, :, None])[..., 0]
            change = np.eye(2) + step[:, [0, 2, 1, 3]].reshape(-1, 2, 2)
            warp = warp @ _inverse(change)
            move = (warp @ step[:, 4:, None])[..., 0]
            uv = uv - move * scale
            if np.abs(move).max() < SETTLED_PX:
                break
        now, look, weight = self._compare(frame, uv, warp)
        return uv, warp, (now * look * weight).sum(axis=1)

    def _compare(self, frame: Frame, uv: Floats, warp: Floats) -> tuple[Floats, Floats, Floats]:
        """Return how the patches look now and looked at first, both normalized, and the weight of each of their pixels.

        Pixels outside the picture weigh nothing. All are (N, SIDE * SIDE) float32.
        """
        centres = uv / 2.0 ** self._level[:, None]
        places = (centres[:, None] + _GRID @ np.swapaxes(warp, 1, 2)).astype(np.float32)
        now, inside = frame.sample(self._level, places)
        if inside.all():
            return _normalize(now, _WEIGHT), self._look, _WEIGHT
        weight = np.where(inside, _WEIGHT, np.float32(0))
        total = weight.sum(axis=1, keepdims=True)
        # A sliver of a patch is no evidence: it keeps its full weight outside, where it finds only the border.
        weight = np.where(total > 0.4, weight / np.maximum(total, 1e-6), _WEIGHT)
        return _normalize(now, weight), _normalize(self._look, weight), weight


def _flow(before: Frame, after: Frame, places: Any) -> tuple[Any, Bools]:
    """Return where the flow takes `places`, (N, 1, 2) float32, and which of them it could follow, (N,) bool."""
    nothing: Any = None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before.grey, after.grey, places, nothing, winSize=WINDOW, maxLevel=LEVELS - 1
    )
    return moved, np.asarray(found)[:, 0].astype(bool)


def _spread(patch: Floats, weight: Floats) -> Floats:
    """Return the weighted deviations of patches, (N, 1)."""
    mean = (patch * weight).sum(axis=1, keepdims=True)
    # Never 0: a patch without any texture must not divide by it.
    spread: Floats = np.sqrt(((patch - mean) ** 2 * weight).sum(axis=1, keepdims=True)) + 1e-3
    return spread


def _normalize(patch: Floats, weight: Floats) -> Floats:
    """Return patches of weighted mean 0 and deviation 1, (N, P): brightness and contrast may change from frame to frame."""
    mean = (patch * weight).sum(axis=1, keepdims=True)
    centred = patch - mean
    spread = np.sqrt((centred * centred * weight).sum(axis=1, keepdims=True)) + 1e-3
    normalized: Floats = centred / spread
    return normalized


def _inverse(matrix: Floats) -> Floats:
    """Return the inverses of (N, 2, 2) matrices; of those that nearly have none, the identity."""
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    det = a * d - b * c
    fine = np.abs(det) > 0.2
    safe = np.where(fine, det, 1.0)
    inverse = np.stack([d, -b, -c, a], axis=-1).reshape(-1, 2, 2) / safe[:, None, None]
    result: Floats = np.where(fine[:, None, None], inverse, np.eye(2))
    return result


def _weaker_gradient(gx: Floats, gy: Floats) -> Floats:
    """Return (N,): the root of the smaller eigenvalue of each patch's structure tensor, grey levels per pixel."""
    xx, yy, xy = ((a * b * _WEIGHT).sum(axis=1) for a, b in ((gx, gx), (gy, gy), (gx, gy)))
    smaller = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    weaker: Floats = np.sqrt(np.maximum(smaller, 0.0))
    return weaker


def _sane(warp: Floats) -> Bools:
    """Return which warps are still those of a thing seen by a camera: neither mirrored nor squeezed to a line."""
    det = np.linalg.det(warp)
    norm = np.linalg.norm(warp, axis=(1, 2))
    sane: Bools = (det > 0.2) & (det < 5.0) & (norm < 4.0)
    return sane
