"""Images between preparation and decoding: vision in batches, the prefix in chunks.

They are taken in the order of their addition, but for an image that goes ahead: it overtakes those that do not, also one that is
half done. Each of them is overtaken once, then it keeps its place.
"""

from __future__ import annotations

import functools

from molmo_point.engine.encoded_image import EncodedImage, ImageInProgress
from molmo_point.engine.engine import Engine
from molmo_point.engine.failures import with_memory
from molmo_point.engine.prepared_image import PreparedImage
from molmo_point.errors import ModelFailed


class ImageStages:
    """Not thread-safe.

    Args:
        engine: Encodes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._encoder = engine.encoder
        # The first ones keep their places, the others can be overtaken.
        self._first: list[ImageInProgress] = []
        self._others: list[ImageInProgress] = []
        # Most crops of a batch: fewer after memory ran out, until no image waits.
        self._batch = engine.options.vision_batch

    def add(
        self, prepared: PreparedImage, *, ahead: bool = False
    ) -> EncodedImage | ImageInProgress:
        """Add an image. One that waits already is shared; one that was encoded since it was prepared is returned encoded.

        Args:
            ahead: Put it before the images that can be overtaken.
        """
        for image in self._images:
            if image.prepared.key == prepared.key:
                return image
        begun = self._encoder.begin(prepared)
        if isinstance(begun, EncodedImage):
            return begun
        if ahead:
            self._first += [begun, *self._others]
            self._others = []
        else:
            self._others.append(begun)
        return begun

    def has(self, prepared: PreparedImage) -> bool:
        """Return whether an equal image waits or is encoded already."""
        known = any(image.prepared.key == prepared.key for image in self._images)
        return known or self._encoder.images.get(prepared.key) is not None

    def discard(self, image: ImageInProgress) -> None:
        """Remove an image that nobody waits for any more; what is known of its crops stays cached."""
        for images in (self._first, self._others):
            if image in images:
                images.remove(image)

    @property
    def _images(self) -> list[ImageInProgress]:
        return [*self._first, *self._others]

    @property
    def crops(self) -> int:
        """Number of crops that wait for the vision tower."""
        return _unseen(self._images)

    @property
    def first_crops(self) -> int:
        """Number of those that an image which goes ahead waits for, too."""
        return _unseen(self._first)

    @property
    def tokens(self) -> int:
        """Number of tokens that wait for the decoder, of images whose crops are all seen."""
        return sum(image.unread for image in self._images)

    def see(self) -> None:
        """Run one batch of crops through the vision tower."""
        waiting = [image for image in self._images if image.unseen]
        crops = min(self._batch, sum(len(image.unseen) for image in waiting))
        free = self._engine.free if crops == 1 else lambda: False
        try:
            with_memory(functools.partial(self._encoder.see, waiting, crops), free)
        except ModelFailed as failure:
            if crops == 1:
                waiting[0].failure = failure
            else:
                self._engine.free()
                self._batch = crops // 2
        self._leave()

    def read(self) -> None:
        """Run one chunk of tokens of the first image through the decoder."""
        image = next(image for image in self._images if image.unread)
        try:
            with_memory(functools.partial(self._encoder.read, image), self._engine.free)
        except ModelFailed as failure:
            image.failure = failure
        self._leave()

    def _leave(self) -> None:
        """Remove the images that are encoded or have failed."""
        for images in (self._first, self._others):
            images[:] = [i for i in images if i.encoded is None and i.failure is None]
        if not self._images:
            self._batch = self._engine.options.vision_batch


def _unseen(images: list[ImageInProgress]) -> int:
    return sum(len(image.unseen) for image in images)
