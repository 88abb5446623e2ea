"""The image prefix: crops through the vision tower, image tokens through the decoder, keys and values kept.

Image tokens come first in every prompt, so that the prefix serves every question about the image. A fresh call takes the same
two steps, which is why an opened image gives bit for bit the answers of a fresh call.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molmo_point.engine.byte_cache import ByteBudgetCache
from molmo_point.engine.failures import check_finite
from molmo_point.errors import QueryError
from molmo_point.images import Array
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.layers import block_mask
from molmo_point.model.molmo import Molmo
from molmo_point.model.point_heads import PatchKeys
from molmo_point.preprocess.arrays import Floats
from molmo_point.preprocess.inputs import text_prefix
from molmo_point.preprocess.patch_places import PatchPlaces
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.preprocess.visual_input import VisualInput, frames_input, images_input


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """Keys and values of an image's tokens, and what computing them took.

    Attributes:
        image_sizes: (width, height) in pixels of each image, or of a video.
        cache: Keys and values of the begin token and the image tokens. Never written to: `cache.fork` makes room.
        patches, places: Keys of the patches that MolmoPoint points at, and where they lie; None in other models.
        times_s: Times of a video's frames in seconds; () for images.
        crops: Number of crops; encoded: how many of them ran through the vision tower (the others were cached).
        preprocess_s, vision_s, prefill_s: Seconds spent.
    """

    image_sizes: tuple[tuple[int, int], ...]
    cache: KVCache
    patches: PatchKeys | None = None
    places: PatchPlaces | None = None
    times_s: tuple[float, ...] = ()
    crops: int = 0
    encoded: int = 0
    preprocess_s: float = 0.0
    vision_s: float = 0.0
    prefill_s: float = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values, and of the keys of patches."""
        return self.cache.nbytes + (self.patches.nbytes if self.patches else 0)

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the first image."""
        return self.image_sizes[0]


class ImageEncoder:
    """Encodes images with one model; caches whole images, and crops by their pixels.

    Args:
        image_bytes: Budget for the keys and values of whole images.
        crop_bytes: Budget for the vision features of single crops: where a corner of a screenshot changed, only the changed
            crops are encoded again.
        low_as_high: MolmoPoint's tokens of low-resolution views are embedded as those of the others, as in its training.
    """

    def __init__(
        self,
        model: Molmo,
        tokenizer: Tokenizer,
        *,
        image_bytes: int,
        crop_bytes: int,
        low_as_high: bool = False,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._low_as_high = low_as_high
        self.images: ByteBudgetCache[EncodedImage] = ByteBudgetCache(image_bytes)
        self.crops: ByteBudgetCache[Tensor] = ByteBudgetCache(crop_bytes)

    def encode(
        self, images: Sequence[Array], times_s: Sequence[float] = ()
    ) -> tuple[EncodedImage, bool]:
        """Return the encoded images, and whether they were encoded now (False: they were cached).

        Args:
            images: (H, W, 3) uint8 RGB, one or several, or the frames of a video.
            times_s: Times of the frames in seconds; () = images.

        Raises:
            ModelFailed: The model computed NaN or infinity.
            UsageError: The model takes one image, no videos, or not that many of them.
        """
        key = _digest(images, times_s)
        known = self.images.get(key)
        if known is not None:
            return known, False
        config, tokenizer = self._model.config.preprocess, self._tokenizer

        def cut() -> VisualInput:
            if times_s:
                return frames_input(images, times_s, config, tokenizer)
            return images_input(images, config, tokenizer)

        sizes = [(image.shape[1], image.shape[0]) for image in images]
        encoded = self._encode(cut, tuple(sizes[:1] if times_s else sizes), tuple(times_s))
        self.images.put(key, encoded, encoded.nbytes)
        return encoded, True

    @torch.inference_mode()
    def no_image(self) -> EncodedImage:
        """Return the prefix of a question without an image: the begin token alone."""
        prefix = text_prefix(self._tokenizer.special)
        ids = torch.as_tensor(prefix.input_ids, device=self._model.device)[None]
        cache, _ = self._prefill(self._model.embed(ids), torch.zeros(1, dtype=torch.bool))
        return EncodedImage(((1, 1),), cache)

    @torch.inference_mode()
    def _encode(
        self,
        cut: Callable[[], VisualInput],
        sizes: tuple[tuple[int, int], ...],
        times_s: tuple[float, ...],
    ) -> EncodedImage:
        model = self._model
        start = time.perf_counter()
        visual = cut()
        positions = model.config.decoder.max_positions
        if len(visual.input_ids) >= positions:
            raise QueryError(
                f"{len(times_s) or len(sizes)} {'frames' if times_s else 'images'} take {len(visual.input_ids)} tokens, the "
                f"model holds {positions} with question and answer: use fewer, or smaller ones"
            )
        preprocessed = time.perf_counter()
        features, encoded = self.vision_features(visual.crops)
        pooling = torch.from_numpy(visual.pooling).to(model.device)
        embeddings = model.connector(features, pooling)
        ids = torch.as_tensor(visual.input_ids, device=model.device)[None]
        index = torch.as_tensor(visual.image_input_idx)[None]
        x = model.embed(self._embedded_ids(ids), embeddings[None], index)
        _synchronize(x)
        seen = time.perf_counter()
        cache, hidden = self._prefill(x, torch.from_numpy(visual.in_block))
        patches = places = None
        if model.points is not None:
            usable = ids[0, index[0]] == self._tokenizer.special.image_patch
            patches = model.points.keys(hidden[0, index[0]], usable, pooling, features, embeddings)
            places = PatchPlaces.of(visual.pooling.astype(np.int32), visual.grids)
        _synchronize(cache.keys)
        done = time.perf_counter()
        return EncodedImage(
            image_sizes=sizes,
            cache=cache,
            patches=patches,
            places=places,
            times_s=times_s,
            crops=len(visual.crops),
            encoded=encoded,
            preprocess_s=preprocessed - start,
            vision_s=seen - preprocessed,
            prefill_s=done - seen,
        )

    def _embedded_ids(self, ids: Tensor) -> Tensor:
        special = self._tokenizer.special
        if not self._low_as_high or special.low_image_patch is None:
            return ids
        return ids.masked_fill(ids == special.low_image_patch, special.image_patch)

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

    def _prefill(self, x: Tensor, in_block: Tensor) -> tuple[KVCache, Tensor]:
        """Run the prefix [1, T, D] through the decoder; return its keys and values, and its hidden states [1, T, D].

        Args:
            in_block: [T] bool, tokens of images.
        """
        length = x.shape[1]
        cache = self._model.decoder.allocate_cache(length)
        positions = torch.arange(length, device=x.device)[None]
        mask = None
        if self._model.config.decoder.image_block:
            mask = block_mask(in_block.to(x.device))
        hidden = self._model.decoder(x, positions, mask=mask, cache=cache)
        check_finite(hidden.amax(), self._model.dtype)
        cache.keep(range(length))
        return cache, hidden


def _digest(images: Sequence[Array], times_s: Sequence[float]) -> bytes:
    digest = hashlib.blake2b(repr(tuple(times_s)).encode(), digest_size=16)
    for image in images:
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def _synchronize(tensor: Tensor) -> None:
    """Wait for the device, so that each stage is charged with its own time."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
