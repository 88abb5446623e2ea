"""Images in and after their stages: `ImageInProgress` becomes an `EncodedImage`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molmo_point.engine.prepared_image import PreparedImage
from molmo_point.errors import ModelFailed
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.point_heads import PatchKeys
from molmo_point.pointer import Detail
from molmo_point.points import Timing
from molmo_point.preprocess.arrays import Floats
from molmo_point.preprocess.patch_places import PatchPlaces

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """Keys and values of an image's tokens.

    Attributes:
        image_sizes: (width, height) in pixels of each image, or of a video.
        cache: Keys and values of the begin token and the image tokens. Never written to: `cache.fork` makes room.
        patches, places: Keys of the patches that MolmoPoint points at, and where they lie; None in other models.
        times_s: Times of a video's frames in seconds; () for images.
        summary: What a calibration's domain is judged by [2 D], see `summarize`; None without an image.
        detail: How finely it was looked at.
    """

    image_sizes: tuple[tuple[int, int], ...]
    cache: KVCache
    patches: PatchKeys | None = None
    places: PatchPlaces | None = None
    times_s: tuple[float, ...] = ()
    summary: Vector | None = None
    detail: Detail = "auto"

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the first image."""
        return self.image_sizes[0]

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.cache.length

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values, and of the keys of patches."""
        return self.cache.nbytes + (self.patches.nbytes if self.patches else 0)

    @property
    def crop_bytes(self) -> int:
        """Bytes of crops that wait for the network: none."""
        return 0


def summarize(embeddings: Tensor) -> Vector:
    """Return mean and standard deviation of an image's embeddings over its tokens [2 D].

    Args:
        embeddings: [tokens, D].
    """
    rows = embeddings.float()
    return torch.cat([rows.mean(0), rows.std(0, correction=0)]).cpu().double().numpy()


AnyImage = Union[EncodedImage, PreparedImage]
"""An image that is known already, or one that has both stages before it."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """What the connector makes of an image.

    Attributes:
        features: [n, patches, feature width] of its crops.
        pooled: [P, D], its image embeddings.
        prefix: [1, T, D], the embeddings of its tokens.
    """

    features: Tensor
    pooled: Tensor
    prefix: Tensor


class ImageInProgress:
    """An image between `ImageEncoder.begin` and the end of its last stage.

    Attributes:
        prepared: The image.
        features: Vision features [patches, feature width] of its crops by their keys, None where they have to be computed.
        timing: What its stages took so far; a batch's time is divided by the number of crops.
        encoded: The result, None before the end.
        failure: Why there will be no result.
    """

    def __init__(self, prepared: PreparedImage, features: dict[bytes, Tensor | None]) -> None:
        self.prepared = prepared
        self.features = features
        self.timing = Timing(preprocess_s=prepared.preprocess_s)
        self.encoded: EncodedImage | None = None
        self.failure: ModelFailed | None = None
        self.embedded: Embedded | None = None
        self.cache: KVCache | None = None
        # Of the tokens that are read, where the keys of patches are made of them.
        self.hidden: list[Tensor] = []

    @property
    def unseen(self) -> list[bytes]:
        """Keys of the crops that have to run through the vision tower."""
        return [key for key, value in self.features.items() if value is None]

    @property
    def unread(self) -> int:
        """Number of tokens that have to run through the decoder; 0 before all crops are seen."""
        if self.unseen:
            return 0
        return self.prepared.tokens - (self.cache.length if self.cache is not None else 0)

    def crop(self, key: bytes) -> Floats:
        """Return the crop with that key [patches, patch pixels]."""
        crop: Floats = self.prepared.visual.crops[self.prepared.crop_keys.index(key)]
        return crop

    def take_timing(self) -> Timing:
        """Return the timing to the first question about the image; to others that waited for it, no time at all."""
        timing, self.timing = self.timing, Timing()
        return timing

    def spend(self, **more: float) -> None:
        """Add to the timing."""
        now = {name: getattr(self.timing, name) + value for name, value in more.items()}
        self.timing = self.timing.model_copy(update=now)
