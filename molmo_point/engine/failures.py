"""When the network fails: numbers that are no answer, and memory that runs out."""

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
"""What CPU, MPS and the CUDA libraries say in a plain RuntimeError; CUDA itself has a class of its own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine ran out of memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY_WORDS)


def out_of_memory(error: BaseException) -> ModelFailed:
    """Return the error for that."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return ModelFailed(
        f"out of memory ({said}): load the model in bfloat16 or with quantize='int8', answer fewer questions at once (max_batch, "
        "batch_cache_bytes), keep fewer pictures (picture_cache_bytes), or use a smaller picture"
    )


def with_memory(work: Callable[[], Result], free: Callable[[], bool]) -> Result:
    """Return what `work` returns; where memory runs out, free some and do it once more.

    Args:
        work: Changes nothing before it succeeds.
        free: Frees memory; returns whether there was any to free.

    Raises:
        ModelFailed: Memory ran out nevertheless.
    """
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        failure = out_of_memory(error)
    # Behind the handler, whose error holds on to the tensors of the attempt.
    if free():
        return with_memory(work, lambda: False)
    raise failure


def finite(values: Tensor, dtype: torch.dtype) -> None:
    """Check what tokens are chosen by.

    Args:
        values: The largest logit of each row. NaN anywhere in a row makes it NaN.
        dtype: The weights' type.

    Raises:
        ModelFailed: Not finite; says what to do.
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
    """Return what stopped one question as an error of ours."""
    if isinstance(error, PointError):
        return error
    if is_out_of_memory(error):
        return out_of_memory(error)
    return PointError(f"the answer could not be put together: {type(error).__name__}: {error}")
