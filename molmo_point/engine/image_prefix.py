"""The image prefix: crops through the vision tower, image tokens through the decoder, keys and values kept.

Image tokens come first in every prompt, so that the prefix serves every question about the image. Both stages work in pieces
(some crops of several images, some tokens of one image), so that a server decodes answers in between. A fresh call takes the same
stages, which is why an opened image gives bit for bit the answers of a fresh call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from molmo_point.engine.byte_cache import ByteBudgetCache
from molmo_point.engine.encoded_image import (
    AnyImage,
    Embedded,
    EncodedImage,
    ImageInProgress,
    Vector,
    summarize,
)
from molmo_point.engine.failures import check_finite
from molmo_point.engine.prepared_image import PreparedImage, images_key, prepare_images
from molmo_point.errors import ModelFailed
from molmo_point.images import Array
from molmo_point.model.decoder import Decoder
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.layers import block_mask
from molmo_point.model.molmo import Molmo
from molmo_point.pointer import Detail
from molmo_point.points import Timing
from molmo_point.preprocess.arrays import Bools
from molmo_point.preprocess.inputs import text_prefix
from molmo_point.preprocess.patch_places import PatchPlaces
from molmo_point.preprocess.tokenizer import Tokenizer


class ImageEncoder:
    """Encodes images with one model; caches whole images, and crops by their pixels. Thread-safe; an image in progress is not.

    Args:
        vision: Its vision tower.
        reader: Its decoder, as it runs image tokens (`image_reader`).
        image_bytes: Budget for the keys and values of whole images.
        crop_bytes: Budget for the vision features of single crops: where a corner of a screenshot changed, only the changed
            crops are encoded again.
        crops_per_batch: Most crops that run through the vision tower together.
        tokens_per_chunk: Most image tokens that run through the decoder at once, where they are causal.
        low_as_high: MolmoPoint's tokens of low-resolution views are embedded as those of the others, as in its training.
    """

    def __init__(
        self,
        model: Molmo,
        tokenizer: Tokenizer,
        vision: Callable[[Tensor], Tensor],
        reader: Decoder,
        *,
        image_bytes: int,
        crop_bytes: int,
        crops_per_batch: int,
        tokens_per_chunk: int,
        low_as_high: bool = False,
    ) -> None:
        self._model = model
        self.reader = reader
        self._tokenizer = tokenizer
        self._low_as_high = low_as_high
        self._vision = vision
        self._crops_per_batch = crops_per_batch
        self._tokens_per_chunk = tokens_per_chunk
        self.images: ByteBudgetCache[EncodedImage] = ByteBudgetCache(image_bytes)
        self.crops: ByteBudgetCache[Tensor] = ByteBudgetCache(crop_bytes)

    def prepare(
        self, images: Sequence[Array], times_s: Sequence[float] = (), detail: Detail = "auto"
    ) -> AnyImage:
        """Return the images cut into crops, or encoded if they are cached.

        Args:
            images: (H, W, 3) uint8 RGB, one or several, or the frames of a video.
            times_s: Times of the frames in seconds; () = images.
            detail: How finely they are looked at.

        Raises:
            QueryError: They take more tokens than the model holds.
            UsageError: As `prepare_images`.
        """
        key = images_key(images, times_s, detail)
        known = self.images.get(key)
        if known is not None:
            return known
        return prepare_images(images, times_s, key, self._model.config, self._tokenizer, detail)

    def begin(self, prepared: PreparedImage) -> EncodedImage | ImageInProgress:
        """Return the encoded image if it was encoded since it was prepared, otherwise the state of its stages."""
        known = self.images.get(prepared.key)
        if known is not None:
            return known
        return ImageInProgress(prepared, {key: self.crops.get(key) for key in prepared.crop_keys})

    def encode(self, prepared: PreparedImage) -> tuple[EncodedImage, Timing]:
        """Run all stages of one image.

        Raises:
            ModelFailed: The model computed NaN or infinity.
        """
        image = self.begin(prepared)
        if isinstance(image, EncodedImage):
            return image, Timing(preprocess_s=prepared.preprocess_s)
        while image.encoded is None:
            if image.failure is not None:
                raise image.failure
            if image.unseen:
                self.see([image], self._crops_per_batch)
            else:
                self.read(image)
        return image.encoded, image.timing

    @torch.inference_mode()
    def summary(self, prepared: AnyImage) -> Vector:
        """Return an image's summary [2 D], without running its tokens through the decoder.

        Raises:
            ModelFailed: The model computed NaN or infinity.
        """
        image = prepared if isinstance(prepared, EncodedImage) else self.begin(prepared)
        if isinstance(image, EncodedImage):
            assert image.summary is not None  # there is an image
            return image.summary
        while image.unseen:
            self.see([image], self._crops_per_batch)
            if image.failure is not None:
                raise image.failure
        return _summary(image.prepared, self._embedded(image).pooled)

    @torch.inference_mode()
    def no_image(self) -> EncodedImage:
        """Return the prefix of a question without an image: the begin token alone."""
        prefix = text_prefix(self._tokenizer.special)
        ids = torch.as_tensor(prefix.input_ids, device=self._model.device)[None]
        cache = self._model.decoder.allocate_cache(1)
        self._read(self._model.embed(ids), np.zeros(1, np.bool_), cache)
        return EncodedImage(((1, 1),), cache)

    @torch.inference_mode()
    def see(self, images: Sequence[ImageInProgress], most: int) -> None:
        """Run the next crops of several images through the vision tower in one batch: equal crops once, the first images first.

        An image with a crop whose features are not finite fails alone.

        Args:
            images: Each with unseen crops.
            most: Largest number of crops.
        """
        wanted = {key: image for image in images for key in image.unseen}
        keys = list(wanted)[:most]
        start = time.perf_counter()
        model = self._model
        crops = np.stack([wanted[key].crop(key) for key in keys])
        results = self._vision(torch.from_numpy(crops).to(model.device, model.vision_dtype))
        seen: dict[bytes, Tensor | ModelFailed] = {}
        for key, result, largest in zip(keys, results, results.amax((1, 2)).cpu(), strict=True):
            try:
                # Checked before anything is cached.
                check_finite(largest, model.vision_dtype)
            except ModelFailed as failure:
                seen[key] = failure
                continue
            seen[key] = result
            self.crops.put(key, result, result.numel() * result.element_size())
        _synchronize(results)
        spent = (time.perf_counter() - start) / len(keys)
        for image in images:
            self._take(image, seen, spent)

    @torch.inference_mode()
    def read(self, image: ImageInProgress) -> None:
        """Run the next tokens of an image whose crops are seen through the decoder; after the last ones it is encoded."""
        prepared, embedded, cache = image.prepared, image.embedded, image.cache
        if embedded is None or cache is None:
            start = time.perf_counter()
            embedded = self._embedded(image)
            _synchronize(embedded.prefix)
            image.spend(vision_s=time.perf_counter() - start)
            cache = self._model.decoder.allocate_cache(prepared.tokens)
        start = time.perf_counter()
        chunk = slice(cache.length, prepared.tokens)
        if not self._model.config.decoder.image_block:
            chunk = slice(
                cache.length, min(prepared.tokens, cache.length + self._tokens_per_chunk)
            )
        try:
            states = self._read(embedded.prefix[:, chunk], prepared.visual.in_block, cache)
        except ModelFailed as failure:
            image.failure = failure
            return
        # Kept only when the pass is complete: it may be repeated where memory runs out.
        image.embedded, image.cache = embedded, cache
        if self._model.points is not None:
            image.hidden.append(states)
        if chunk.stop == prepared.tokens:
            image.encoded = self._encoded(image, embedded, cache)
            self.images.put(prepared.key, image.encoded, image.encoded.nbytes)
        _synchronize(cache.keys)
        image.spend(prefill_s=time.perf_counter() - start)

    def _take(
        self, image: ImageInProgress, seen: dict[bytes, Tensor | ModelFailed], spent: float
    ) -> None:
        """Give an image the features of its crops; `spent` is the time of each in seconds."""
        for key in image.unseen:
            result = seen.get(key)
            if isinstance(result, ModelFailed):
                image.failure = result
            elif result is not None:
                image.features[key] = result
                image.spend(vision_s=spent, crops=1)

    def _embedded(self, image: ImageInProgress) -> Embedded:
        model, prepared, visual = self._model, image.prepared, image.prepared.visual
        found = [image.features[key] for key in prepared.crop_keys]
        features = torch.stack([value for value in found if value is not None])
        pooled = model.connector(features, torch.from_numpy(visual.pooling).to(model.device))
        ids = torch.as_tensor(visual.input_ids, device=model.device)[None]
        low, high = (
            self._tokenizer.special.low_image_patch,
            self._tokenizer.special.image_patch,
        )
        if self._low_as_high and low is not None:
            ids = ids.masked_fill(ids == low, high)
        index = torch.as_tensor(visual.image_input_idx)[None]
        return Embedded(features, pooled, model.embed(ids, pooled[None], index))

    def _encoded(self, image: ImageInProgress, embedded: Embedded, cache: KVCache) -> EncodedImage:
        """Return the result for an image whose tokens are all read."""
        model, prepared, visual = self._model, image.prepared, image.prepared.visual
        patches = places = None
        if model.points is not None:
            index = torch.as_tensor(visual.image_input_idx)
            ids = torch.as_tensor(visual.input_ids, device=model.device)
            usable = ids[index] == self._tokenizer.special.image_patch
            pooling = torch.from_numpy(visual.pooling).to(model.device)
            hidden = torch.cat(image.hidden, 1)[0, index]
            patches = model.points.keys(
                hidden, usable, pooling, embedded.features, embedded.pooled
            )
            places = PatchPlaces.of(visual.pooling.astype(np.int32), visual.grids)
        return EncodedImage(
            prepared.image_sizes,
            cache,
            patches,
            places,
            prepared.times_s,
            _summary(prepared, embedded.pooled),
            prepared.detail,
        )

    def _read(self, x: Tensor, in_block: Bools, cache: KVCache) -> Tensor:
        """Run tokens of a prefix [1, T, D] through the decoder behind those in the cache, and keep them there.

        Args:
            in_block: Of the whole prefix, the tokens of images; where they see each other, all are read at once.

        Returns:
            [1, T, D], their hidden states where the keys of patches are made of them, elsewhere what the last block read.
        """
        length, decoder = x.shape[1], self.reader
        positions = cache.length + torch.arange(length, device=x.device)[None]
        mask = None
        if decoder.config.image_block:
            mask = block_mask(torch.from_numpy(in_block).to(x.device))
        # Later tokens read the keys and values of these, nothing else; what the last block makes of them is work for nothing.
        keys_only = self._model.points is None
        states: Tensor = decoder(x, positions, mask=mask, cache=cache, keys_only=keys_only)
        new = slice(cache.length, cache.length + length)
        written = [kept[-1, :, :, new].amax() for kept in (cache.keys, cache.values)]
        check_finite(torch.stack([states.amax(), *written]).amax(), self._model.dtype)
        cache.keep(range(length))
        return states


def _summary(prepared: PreparedImage, pooled: Tensor) -> Vector:
    """Return the summary of the embeddings that an image's tokens hold [2 D]."""
    used = torch.as_tensor(prepared.visual.image_input_idx).flatten() >= 0
    return summarize(pooled.flatten(0, -2)[used.to(pooled.device)])


def _synchronize(tensor: Tensor) -> None:
    """Wait for the device, so that each stage is charged with its own time."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
