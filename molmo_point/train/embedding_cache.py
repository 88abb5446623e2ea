"""Pictures looked at once and asked again and again: the decoder learns without the cost of the vision tower."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch

from molmo_point.model.molmo import Molmo
from molmo_point.synthetic.scenes.scene import Scene
from molmo_point.train.auxiliary_losses import image_features
from molmo_point.train.batches import collate
from molmo_point.train.data_loader import (
    CachedSample,
    LoadedBatch,
    SampleGenerator,
    without_pixels,
)
from molmo_point.train.progress import Progress
from molmo_point.train.sample import ImageSample


class CachedPictures:
    """The first `count` pictures of a stage with their image embeddings, in memory (about 0.1 MB each at nano's size)."""

    def __init__(
        self, drawer: SampleGenerator, model: Molmo, count: int, device: torch.device
    ) -> None:
        self._drawer = drawer
        self._model = model
        self._count = count
        self._device = device
        self._items: list[CachedSample] = []

    @torch.no_grad()
    def fill(
        self,
        progress: Progress,
        precision: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Draw and encode the pictures; the same ones after a restart, because the vision tower stands still."""
        waiting: list[tuple[Scene, ImageSample]] = []
        for index in range(self._count):
            scene = self._drawer.scene(index)
            waiting.append((scene, self._drawer.picture(scene)))
            if len(waiting) == self._drawer.stage.batch or index == self._count - 1:
                self._encode(waiting, precision)
                waiting = []
                progress.filling(len(self._items), self._count)
        self._drawer.close()

    def _encode(
        self,
        waiting: list[tuple[Scene, ImageSample]],
        precision: Callable[[], AbstractContextManager[object]],
    ) -> None:
        batch = collate([(picture, []) for _, picture in waiting]).to(self._device)
        with precision():
            features = image_features(self._model, batch).to(torch.bfloat16).cpu()
        start = 0
        for scene, picture in waiting:
            own = features[start : start + len(picture.where)].clone()
            start += len(picture.where)
            self._items.append(CachedSample(*without_pixels(scene, picture), own))

    def batches(self, first: int) -> Iterator[LoadedBatch]:
        """Yield batches without end, beginning with number `first`: every epoch in another order, with other questions."""
        size = min(self._drawer.stage.batch, len(self._items))
        per_epoch = len(self._items) // size
        number = first
        while True:
            epoch, place = divmod(number, per_epoch)
            order = np.random.default_rng([epoch, 3]).permutation(len(self._items))
            items = [self._items[i] for i in order[place * size : (place + 1) * size]]
            batch = collate(
                [
                    (item.picture, self._drawer.answers(item.scene, item.picture, epoch + 1))
                    for item in items
                ]
            )
            features = torch.cat([item.features for item in items]).float()
            yield LoadedBatch(replace(batch, features=features), len(items), 0, "", 0.0)
            number += 1
