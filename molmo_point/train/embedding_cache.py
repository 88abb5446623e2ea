"""Images that are encoded once and asked about many times: the decoder trains without the cost of the vision tower."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch

from molmo_point.model.molmo import Molmo
from molmo_point.synthetic.scenes.scene import Scene
from molmo_point.train.auxiliary_losses import encode_images
from molmo_point.train.batches import Batch
from molmo_point.train.collate import collate
from molmo_point.train.data_loader import LoadedBatch
from molmo_point.train.progress import Progress
from molmo_point.train.sample import ImageSample
from molmo_point.train.scene_batches import SampleGenerator

Precision = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, eq=False)
class CachedSample:
    """A scene without its pixels, and its image embeddings [crops, K, D] in bfloat16."""

    scene: Scene
    image: ImageSample
    features: torch.Tensor


class EmbeddingCache:
    """The first `count` images of a stage with their embeddings, in memory: about 0.1 MB each at nano's size."""

    def __init__(
        self, generator: SampleGenerator, model: Molmo, count: int, device: torch.device
    ) -> None:
        self._generator = generator
        self._model = model
        self._count = count
        self._device = device
        self._items: list[CachedSample] = []

    @torch.no_grad()
    def fill(self, progress: Progress, precision: Precision) -> None:
        """Render and encode the images; after a restart the same ones, because the vision tower is frozen."""
        waiting: list[tuple[Scene, ImageSample]] = []
        for index in range(self._count):
            scene = self._generator.scene(index)
            waiting.append((scene, self._generator.image(scene)))
            if len(waiting) == self._generator.stage.batch or index == self._count - 1:
                self._encode(waiting, precision)
                waiting = []
                progress.filling(len(self._items), self._count)
        self._generator.close()

    def _encode(self, waiting: list[tuple[Scene, ImageSample]], precision: Precision) -> None:
        inputs = collate([(image, []) for _, image in waiting]).inputs.to(self._device)
        with precision():
            features = encode_images(self._model, inputs).features.to(torch.bfloat16).cpu()
        counts = [len(image.crop_rows) for _, image in waiting]
        for (scene, image), own in zip(waiting, torch.split(features, counts), strict=True):
            self._items.append(CachedSample(*_without_pixels(scene, image), own.clone()))

    def batches(self, first: int) -> Iterator[LoadedBatch[Batch]]:
        """Yield batches without end from number `first`; each epoch in another order, with other questions."""
        size = min(self._generator.stage.batch, len(self._items))
        per_epoch = len(self._items) // size
        number = first
        while True:
            epoch, index = divmod(number, per_epoch)
            order = np.random.default_rng([epoch, 3]).permutation(len(self._items))
            items = [self._items[i] for i in order[index * size : (index + 1) * size]]
            batch = collate(
                [
                    (item.image, self._generator.answers(item.scene, item.image, epoch + 1))
                    for item in items
                ]
            )
            features = torch.cat([item.features for item in items]).float()
            yield LoadedBatch(batch.with_features(features), len(items), 0, "", 0.0)
            number += 1


def _without_pixels(scene: Scene, image: ImageSample) -> tuple[Scene, ImageSample]:
    """Drop what only rendering and the vision tower need, which is nearly all of the memory."""
    small = replace(scene, image=scene.image[:1, :1].copy(), owner=scene.owner[:1, :1].copy())
    return small, replace(image, crops=image.crops[:0].copy())
