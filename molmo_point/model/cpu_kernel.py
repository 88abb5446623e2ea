"""Choice of the CPU kernel for bfloat16 matrix products: torch's own kernel for one row, oneDNN's for more.

A product with one row, as in decoding, is limited by memory bandwidth, and torch's kernel reads the weights 1.7 times as fast
(30-36 GB/s against 15-23 on two cores, `python -m benchmarks.engine bandwidth`); with more rows oneDNN is faster. Torch has one
switch for the whole process: work of other threads may meanwhile use the slower kernel, with equally correct results.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor

mkldnn = torch.backends.mkldnn


class MkldnnGuard:
    """Keeps oneDNN disabled while any thread needs it, then restores the previous setting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = True

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Disable oneDNN in every thread while the block runs."""
        with self._lock:
            if not self._users:
                self._before = bool(mkldnn.enabled)
                _turn(on=False)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    _turn(on=self._before)


def _turn(*, on: bool) -> None:
    mkldnn.enabled = on  # type: ignore[assignment]  # a property of the module that its stub lacks


MKLDNN_GUARD = MkldnnGuard()
"""One for the process, like the setting it guards."""


def fastest_kernel(x: Tensor, weight: Tensor) -> AbstractContextManager[None]:
    """Return a context that selects the kernel for products of `weight` and similar matrices with the rows of `x` [..., D]."""
    one_row = x.numel() == x.shape[-1]
    ours = one_row and weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    return MKLDNN_GUARD.off() if ours else contextlib.nullcontext()
