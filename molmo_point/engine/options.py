"""Options of an engine, checked when they are set."""

from __future__ import annotations

from dataclasses import dataclass

from molmo_point.arguments import check_detail
from molmo_point.engine.patch_choice import POINT_DECODINGS, PointDecoding
from molmo_point.errors import UsageError
from molmo_point.pointer import Detail


@dataclass(frozen=True)
class EngineOptions:
    """Options of an engine. Only `point_decoding`, `detail`, and a short `max_new_tokens`, which
    cuts it, change the points of an answer.

    Attributes:
        max_new_tokens: Longest answer in tokens. A point takes 17 to 19 with tokenizers that write one token a digit, so 768 hold
            about 40 points. Longer answers are `truncated`. About 2500 fit the model's positions beside a large image; a larger
            value takes more of `batch_cache_bytes`.
        drafts: Draft what the grammar forces and let the model confirm it: fewer passes.
        max_batch: Largest number of answers decoded side by side.
        batch_cache_bytes: Budget in bytes for the keys and values of a batch; fewer answers run side by side where it is short.
        image_cache_bytes: Budget in bytes for the keys and values of cached images.
        crop_cache_bytes: Budget in bytes for the vision features of cached crops.
        vision_batch: Most crops, of one or several images, that run through the vision tower together. Answers that are being
            decoded beside new images wait for one such batch at most.
        prefix_chunk: Most image tokens that run through the decoder at once, between two passes of other answers. Models whose
            image tokens see each other (Molmo 2) read an image whole.
        detail: How finely images are looked at where a question does not say: "auto", "low", or at most N crops.
        cuda_graphs: Decode in passes of a few fixed shapes that are recorded once and replayed. Saves kernel launches on CUDA; on
            other devices it only pads.
        point_decoding: How MolmoPoint chooses points: "as_exported", as the code published with its weights, or "as_trained", as
            its training code; they differ (docs/molmo2.md 7.4). Other models have one way.
        calibrated: Use the calibration.json beside the weights, if there is one; False returns raw scores and covariances.
    """

    max_new_tokens: int = 768
    drafts: bool = True
    max_batch: int = 8
    batch_cache_bytes: int = 4 * 1024**3
    image_cache_bytes: int = 512 * 1024**2
    crop_cache_bytes: int = 256 * 1024**2
    vision_batch: int = 4
    prefix_chunk: int = 256
    detail: Detail = "auto"
    cuda_graphs: bool = False
    calibrated: bool = True
    point_decoding: PointDecoding = "as_exported"

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(
                    f"expected {name} as a whole number of at least {least}, got {value!r}"
                )
        for name in ("drafts", "cuda_graphs", "calibrated"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"expected {name} as True or False, got {getattr(self, name)!r}")
        check_detail(self.detail)
        if self.point_decoding not in POINT_DECODINGS:
            raise UsageError(
                f"expected point_decoding to be one of {', '.join(POINT_DECODINGS)}, got {self.point_decoding!r}"
            )


_LEAST = {
    "max_new_tokens": 1,
    "max_batch": 1,
    "batch_cache_bytes": 0,
    "image_cache_bytes": 0,
    "crop_cache_bytes": 0,
    "vision_batch": 1,
    "prefix_chunk": 1,
}
