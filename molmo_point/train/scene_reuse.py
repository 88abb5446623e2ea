"""Images that are rendered once and used several times, in another order and with other questions each time."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable

import numpy as np

from molmo_point.synthetic.scenes.scene import Scene

POOL = 256
"""Scenes of a block: all of them are used once, in order, then all of them again in another order, `reuse` times."""

FAST = 1
"""zlib's level: pages are mostly flat, and shrink well at the fastest one."""


class _Packed:
    """A scene whose image and owner map are compressed."""

    def __init__(self, scene: Scene) -> None:
        self._shape = scene.owner.shape
        self._image = zlib.compress(scene.image.tobytes(), FAST)
        self._owner = zlib.compress(scene.owner.tobytes(), FAST)
        nothing = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.int16)
        self._rest = dataclasses.replace(scene, image=nothing[0], owner=nothing[1])

    def scene(self) -> Scene:
        """Return an equal scene."""
        image = np.frombuffer(zlib.decompress(self._image), np.uint8).reshape(*self._shape, 3)
        owner = np.frombuffer(zlib.decompress(self._owner), np.int16).reshape(self._shape)
        return dataclasses.replace(self._rest, image=image.copy(), owner=owner.copy())


class ReusedScenes:
    """Gives scene after scene, each `reuse` times; the index alone decides which one.

    Scenes are kept compressed in this process: where several processes make batches, each renders those that its batches use.

    Args:
        draw: Renders scene n.
    """

    def __init__(self, draw: Callable[[int], Scene], reuse: int) -> None:
        self._draw = draw
        self._reuse = reuse
        self._kept: dict[int, _Packed] = {}
        self._block = 0

    def at(self, index: int) -> tuple[Scene, int]:
        """Return the scene of an image's index, and how often it was used before."""
        block, number, use = place(index, self._reuse)
        if self._reuse == 1:
            return self._draw(number), 0
        if block != self._block:
            self._block = block
            self._kept.clear()
        kept = self._kept.get(number)
        if kept is not None:
            return kept.scene(), use
        scene = self._draw(number)
        if use < self._reuse - 1:
            self._kept[number] = _Packed(scene)
        return scene, use


def place(index: int, reuse: int) -> tuple[int, int, int]:
    """Return for an image's index: its block of POOL scenes, the number of its scene, and how often that was used before."""
    block, rest = divmod(index, POOL * reuse)
    use, position = divmod(rest, POOL)
    if use:
        position = int(np.random.default_rng([block, use]).permutation(POOL)[position])
    return block, block * POOL + position, use
