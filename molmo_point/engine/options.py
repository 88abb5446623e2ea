"""What can be chosen about an engine, checked when it is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from molmo_point.errors import UsageError


@dataclass(frozen=True)
class EngineOptions:
    """How an engine works. None of these changes an answer's points.

    Attributes:
        max_new_tokens: Most tokens of one answer: 17 to 19 a point with digit-wise tokenizers, so about 40 points. Answers that
            need more are `truncated`; the model's positions hold some 2500 beside a large picture. Longer answers take more of
            `batch_cache_bytes`.
        drafts: Guess forced markup and let the model confirm it: fewer passes.
        max_batch: Most answers that `point_many` writes side by side.
        batch_cache_bytes: Most memory for the keys and values of such a batch; fewer answers run side by side where it is short.
        picture_cache_bytes: Budget for remembered pictures (their keys and values).
        crop_cache_bytes: Budget for remembered vision features of crops.
        cuda_graphs: Decode in passes of a few fixed shapes that are recorded once and replayed. Saves launches on CUDA; on other
            devices it only pads.
        calibrated: Use the calibration.json beside the weights, if there is one; False hands out raw scores and covariances.
    """

    max_new_tokens: int = 768
    drafts: bool = True
    max_batch: int = 8
    batch_cache_bytes: int = 4 * 1024**3
    picture_cache_bytes: int = 512 * 1024**2
    crop_cache_bytes: int = 256 * 1024**2
    cuda_graphs: bool = False
    calibrated: bool = True

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


_LEAST = {
    "max_new_tokens": 1,
    "max_batch": 1,
    "batch_cache_bytes": 0,
    "picture_cache_bytes": 0,
    "crop_cache_bytes": 0,
}
