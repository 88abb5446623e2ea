"""Failures of the network: NaN or infinity, and exhausted memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from molmo_point.errors import ModelFailed, PointError

Result = TypeVar("Result")

_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "ALLOC_FAILED",
)
"""Texts of a plain RuntimeError from CPU, MPS and the CUDA libraries; CUDA itself raises a class of its own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine ran out of memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY_WORDS)


def out_of_memory(error: BaseException) -> ModelFailed:
    """Return an out-of-memory error that says what to do."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return ModelFailed(
        f"out of memory ({said}): load the model in bfloat16 or with quantize='int8', answer fewer questions at once (max_batch, "
        "batch_cache_bytes), keep fewer images (image_cache_bytes), or use a smaller image"
    )


def with_memory(work: Callable[[], Result], free: Callable[[], bool]) -> Result:
    """Return the result of `work`; where memory runs out, free some and call it once more.

    Args:
        work: Has no effect unless it succeeds.
        free: Frees memory; returns whether there was any to free.

    Raises:
        ModelFailed: Memory ran out again.
    """
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        failure = out_of_memory(error)
    # Outside the handler: its exception keeps the tensors of the failed attempt alive.
    if free():
        return with_memory(work, lambda: False)
    raise failure


def check_finite(values: Tensor, dtype: torch.dtype) -> None:
    """Refuse NaN and infinity.

    Args:
        values: Largest value of each row; NaN anywhere in a row makes it NaN.
        dtype: The weights' type.

    Raises:
        ModelFailed: Some value is not finite; says what to do.
    """
    if bool(torch.isfinite(values).all()):
        return
    name = str(dtype).removeprefix("torch.")
    if dtype in (torch.float16, torch.bfloat16):
        advice = "load the model with dtype='float32'"
        if dtype is torch.float16:
            advice = "float16 ends at 65504: load the model with dtype='bfloat16' or 'float32'"
    else:
        advice = "its weights are damaged: download the checkpoint again"
    raise ModelFailed(f"the model computed NaN or infinity in {name}: {advice}")


def as_point_error(error: Exception) -> PointError:
    """Return the error of one question as a PointError."""
    if isinstance(error, PointError):
        return error
    if is_out_of_memory(error):
        return out_of_memory(error)
    return PointError(f"the answer could not be composed: {type(error).__name__}: {error}")
