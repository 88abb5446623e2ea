"""The image prefix: crops through the vision tower, image tokens through the decoder, keys and values kept.

Image tokens come first in every prompt, so that the prefix serves every question about the image. A fresh call takes the same
two steps, which is why an opened image gives bit for bit the answers of a fresh call.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from molmo_point.engine.byte_cache import ByteBudgetCache
from molmo_point.engine.failures import check_finite
from molmo_point.images import Array
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.layers import block_mask
from molmo_point.model.molmo import Molmo
from molmo_point.preprocess.arrays import Floats
from molmo_point.preprocess.crops import cut_image
from molmo_point.preprocess.inputs import image_prefix, text_prefix
from molmo_point.preprocess.tokenizer import SpecialIds


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """Keys and values of an image's tokens, and what computing them took.

    Attributes:
        image_size: (width, height) in pixels.
        cache: Keys and values of the begin token and the image tokens. Never written to: `cache.fork` makes room.
        crops: Number of crops; encoded: how many of them ran through the vision tower (the others were cached).
        preprocess_s, vision_s, prefill_s: Seconds spent.
    """

    image_size: tuple[int, int]
    cache: KVCache
    crops: int = 0
    encoded: int = 0
    preprocess_s: float = 0.0
    vision_s: float = 0.0
    prefill_s: float = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.cache.nbytes


class ImageEncoder:
    """Encodes images with one model; caches whole images, and crops by their pixels.

    Args:
        image_bytes: Budget for the keys and values of whole images.
        crop_bytes: Budget for the vision features of single crops: where a corner of a screenshot changed, only the changed
            crops are encoded again.
    """

    def __init__(
        self, model: Molmo, special: SpecialIds, *, image_bytes: int, crop_bytes: int
    ) -> None:
        self._model = model
        self._special = special
        self.images: ByteBudgetCache[EncodedImage] = ByteBudgetCache(image_bytes)
        self.crops: ByteBudgetCache[Tensor] = ByteBudgetCache(crop_bytes)

    def encode(self, image: Array) -> tuple[EncodedImage, bool]:
        """Return the encoded image, and whether it was encoded now (False: it was cached).

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            ModelFailed: The model computed NaN or infinity.
        """
        key = hashlib.blake2b(
            repr(image.shape).encode() + image.tobytes(), digest_size=16
        ).digest()
        known = self.images.get(key)
        if known is not None:
            return known, False
        encoded = self._encode(image)
        self.images.put(key, encoded, encoded.nbytes)
        return encoded, True

    @torch.inference_mode()
    def no_image(self) -> EncodedImage:
        """Return the prefix of a question without an image: the begin token alone."""
        prefix = text_prefix(self._special)
        ids = torch.as_tensor(prefix.input_ids, device=self._model.device)[None]
        return EncodedImage((1, 1), self._prefill(self._model.embed(ids)))

    @torch.inference_mode()
    def _encode(self, image: Array) -> EncodedImage:
        model, config = self._model, self._model.config.preprocess
        start = time.perf_counter()
        cropped = cut_image(image, config)
        prefix = image_prefix(cropped, config, self._special)
        preprocessed = time.perf_counter()
        features, encoded = self.vision_features(cropped.crops)
        embeddings = model.connector(features, torch.from_numpy(cropped.pooling).to(model.device))
        ids = torch.as_tensor(prefix.input_ids, device=model.device)[None]
        index = torch.as_tensor(prefix.image_input_idx)[None]
        x = model.embed(ids, embeddings[None], index)
        _synchronize(x)
        seen = time.perf_counter()
        cache = self._prefill(x)
        _synchronize(cache.keys)
        done = time.perf_counter()
        return EncodedImage(
            image_size=(image.shape[1], image.shape[0]),
            cache=cache,
            crops=len(cropped.crops),
            encoded=encoded,
            preprocess_s=preprocessed - start,
            vision_s=seen - preprocessed,
            prefill_s=done - seen,
        )

    def vision_features(self, crops: Floats) -> tuple[Tensor, int]:
        """Run crops through the vision tower: equal crops once, cached crops not at all.

        Args:
            crops: [n, patches, patch pixels] float32.

        Returns:
            [n, patches, feature width], and the number of crops that ran.
        """
        keys = [hashlib.blake2b(crop.data, digest_size=16).digest() for crop in crops]
        features = {key: self.crops.get(key) for key in set(keys)}
        new = [key for key in dict.fromkeys(keys) if features[key] is None]
        if new:
            first = [keys.index(key) for key in new]
            model = self._model
            batch = torch.from_numpy(crops[first]).to(model.device, model.dtype)
            results = model.vision(batch)
            # Checked before anything is cached.
            check_finite(results.amax(), model.dtype)
            for key, result in zip(new, results, strict=True):
                features[key] = result
                self.crops.put(key, result, result.numel() * result.element_size())
        found = [value for key in keys if (value := features[key]) is not None]
        return torch.stack(found), len(new)

    def _prefill(self, x: Tensor) -> KVCache:
        """Run the prefix [1, T, D] through the decoder and return its keys and values."""
        length = x.shape[1]
        cache = self._model.decoder.allocate_cache(length)
        positions = torch.arange(length, device=x.device)[None]
        mask = None
        if self._model.config.decoder.image_block:
            # All but the begin token belong to the image.
            mask = block_mask(positions[0] > 0)
        hidden = self._model.decoder(x, positions, mask=mask, cache=cache)
        check_finite(hidden.amax(), self._model.dtype)
        cache.keep(range(length))
        return cache


def _synchronize(tensor: Tensor) -> None:
    """Wait for the device, so that each stage is charged with its own time."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
