"""A picture, read once: its crops through the vision tower, its tokens through the decoder, keys and values kept.

Image tokens come first in every prompt, so what is computed here serves every question on the picture. A fresh call goes
through the same two steps, which is why an opened picture answers bit for bit as a fresh one.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molmo_point.engine.byte_cache import ByteBudgetCache
from molmo_point.engine.failures import finite
from molmo_point.images import Array
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.molmo import Molmo
from molmo_point.preprocess.crops import crop_image
from molmo_point.preprocess.inputs import image_prefix, text_prefix
from molmo_point.preprocess.tokenizer import SpecialIds


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """What the decoder remembers of a picture.

    Attributes:
        image_size: (width, height) in pixels.
        cache: Keys and values of the begin token and the image tokens. Never written to: `cache.fork` makes room.
        crops: Crops in all; encoded: how many of them ran through the tower (the others were known).
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
        """Bytes that the picture holds."""
        return self.cache.nbytes


class PictureEncoder:
    """Encodes pictures with one model; remembers pictures, and crops by their pixels.

    Args:
        picture_bytes: Budget for the keys and values of whole pictures.
        crop_bytes: Budget for the vision features of single crops: a screenshot of which a corner changed pays for the
            changed crops only.
    """

    def __init__(
        self, model: Molmo, special: SpecialIds, *, picture_bytes: int, crop_bytes: int
    ) -> None:
        self._model = model
        self._special = special
        self.pictures: ByteBudgetCache[EncodedPicture] = ByteBudgetCache(picture_bytes)
        self.crops: ByteBudgetCache[Tensor] = ByteBudgetCache(crop_bytes)

    def encode(self, image: Array) -> tuple[EncodedPicture, bool]:
        """Return the encoded picture, and whether it was encoded now (False: remembered).

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            ModelFailed: What was computed is not finite.
        """
        key = hashlib.blake2b(
            repr(image.shape).encode() + image.tobytes(), digest_size=16
        ).digest()
        known = self.pictures.get(key)
        if known is not None:
            return known, False
        picture = self._encode(image)
        self.pictures.put(key, picture, picture.nbytes)
        return picture, True

    @torch.inference_mode()
    def no_picture(self) -> EncodedPicture:
        """Return the prefix of a question without a picture."""
        prefix = text_prefix(self._special)
        ids = torch.as_tensor(prefix.input_ids, device=self._model.device)[None]
        return EncodedPicture((1, 1), self._read(self._model.embed(ids)))

    @torch.inference_mode()
    def _encode(self, image: Array) -> EncodedPicture:
        model, config = self._model, self._model.config.preprocess
        start = time.perf_counter()
        cut = crop_image(image, config)
        prefix = image_prefix(cut, config, self._special)
        preprocessed = time.perf_counter()
        features, encoded = self.vision_features(cut.crops)
        masks = torch.from_numpy(cut.masks).to(model.device)
        embeddings = model.connector(features, masks)
        ids = torch.as_tensor(prefix.input_ids, device=model.device)[None]
        index = torch.as_tensor(prefix.image_input_idx)[None]
        x = model.embed(ids, embeddings[None], index)
        _settle(x)
        seen = time.perf_counter()
        cache = self._read(x)
        _settle(cache.keys)
        done = time.perf_counter()
        return EncodedPicture(
            image_size=(image.shape[1], image.shape[0]),
            cache=cache,
            crops=len(cut.crops),
            encoded=encoded,
            preprocess_s=preprocessed - start,
            vision_s=seen - preprocessed,
            prefill_s=done - seen,
        )

    def vision_features(self, crops: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[Tensor, int]:
        """Run crops through the tower, each distinct one once, those that are remembered not at all.

        Args:
            crops: [n, patches, patch pixels].

        Returns:
            [n, patches, feature width], and how many crops ran.
        """
        keys = [hashlib.blake2b(crop.data, digest_size=16).digest() for crop in crops]
        features = {key: self.crops.get(key) for key in set(keys)}
        new = [key for key in dict.fromkeys(keys) if features[key] is None]
        if new:
            first = [keys.index(key) for key in new]
            model = self._model
            batch = torch.from_numpy(crops[first]).to(model.device, model.dtype)
            results = model.vision(batch)
            # Before they are remembered.
            finite(results.amax(), model.dtype)
            for key, result in zip(new, results, strict=True):
                features[key] = result
                self.crops.put(key, result, result.numel() * result.element_size())
        return torch.stack([value for key in keys if (value := features[key]) is not None]), len(
            new
        )

    def _read(self, x: Tensor) -> KVCache:
        """Run the prefix through the decoder and keep its keys and values."""
        length = x.shape[1]
        cache = self._model.decoder.allocate_cache(length)
        positions = torch.arange(length, device=x.device)[None]
        hidden = self._model.decoder(x, positions, cache=cache)
        finite(hidden.amax(), self._model.dtype)
        cache.keep(range(length))
        return cache


def _settle(tensor: Tensor) -> None:
    """Wait for the device, so that stages are charged with their own time."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
