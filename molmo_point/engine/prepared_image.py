"""Images before the network: decoded, cut into crops, their tokens counted. numpy only, so that any thread can do it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.errors import QueryError, UsageError
from molmo_point.images import Array
from molmo_point.pointer import Detail
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.preprocess.visual_input import VisualInput, frames_input, images_input


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """What the network needs of an image, of several, or of a video.

    Attributes:
        key: Digest of the pixels and the detail: equal images have equal keys.
        image_sizes: (width, height) in pixels of each image, or of the video.
        times_s: Times of a video's frames in seconds; () for images.
        visual: Crops and tokens.
        crop_keys: Digest of each crop.
        preprocess_s: Seconds spent on all this.
        detail: How finely the image is looked at.
    """

    key: bytes
    image_sizes: tuple[tuple[int, int], ...]
    times_s: tuple[float, ...]
    visual: VisualInput
    crop_keys: tuple[bytes, ...]
    preprocess_s: float
    detail: Detail = "auto"

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the first image."""
        return self.image_sizes[0]

    @property
    def tokens(self) -> int:
        """Number of tokens of the prefix."""
        return len(self.visual.input_ids)

    @property
    def crop_bytes(self) -> int:
        """Bytes of the crops."""
        return self.visual.crops.nbytes


def images_key(
    images: Sequence[Array], times_s: Sequence[float], detail: Detail = "auto"
) -> bytes:
    """Return a digest of pixels, shapes, times and detail."""
    digest = hashlib.blake2b(repr((tuple(times_s), detail)).encode(), digest_size=16)
    for image in images:
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def prepare_images(
    images: Sequence[Array],
    times_s: Sequence[float],
    key: bytes,
    config: MolmoConfig,
    tokenizer: Tokenizer,
    detail: Detail = "auto",
) -> PreparedImage:
    """Cut images, or the frames of a video, into crops.

    Args:
        images: Each (H, W, 3) uint8 RGB.
        times_s: Times of the frames in seconds; () = images.
        key: Their `images_key`.
        detail: How finely they are looked at; frames always have one crop.

    Raises:
        QueryError: They take more tokens than the model holds.
        UsageError: The model takes one image, no videos, or not that many of them; or it cannot point at that detail.
    """
    start = time.perf_counter()
    _check_detail(detail, config, is_video=bool(times_s))
    if times_s:
        visual = frames_input(images, times_s, config.preprocess, tokenizer)
    else:
        visual = images_input(images, config.preprocess, tokenizer, detail)
    positions = config.decoder.max_positions
    if len(visual.input_ids) >= positions:
        raise QueryError(
            f"{len(images)} {'frames' if times_s else 'images'} take {len(visual.input_ids)} tokens, the "
            f"model holds {positions} with question and answer: use fewer, or smaller ones"
        )
    sizes = [(image.shape[1], image.shape[0]) for image in images]
    crop_keys = tuple(hashlib.blake2b(crop.data, digest_size=16).digest() for crop in visual.crops)
    return PreparedImage(
        key=key,
        image_sizes=tuple(sizes[:1] if times_s else sizes),
        times_s=tuple(times_s),
        visual=visual,
        crop_keys=crop_keys,
        preprocess_s=time.perf_counter() - start,
        detail=detail,
    )


def _check_detail(detail: Detail, config: MolmoConfig, *, is_video: bool) -> None:
    if is_video and detail != "auto":
        raise UsageError(f"frames of a video have one crop each: leave detail out, got {detail!r}")
    if config.points and detail in ("low", 1):
        raise UsageError(
            "MolmoPoint chooses its points among the patches of the crops beside the global one: expected detail of at least 2, "
            f"got {detail!r}"
        )
