"""Choice of the CPU kernel for matrix products.

bfloat16: torch's own kernel for one row, oneDNN's for more. A product with one row, as in decoding, is limited by memory
bandwidth, and torch's kernel reads the weights 1.7 times as fast (30-36 GB/s against 15-23 on two cores, `python -m
benchmarks.engine bandwidth`); with more rows oneDNN is faster. Torch has one switch for the whole process: work of other threads
may meanwhile use the slower kernel, with equally correct results.

float32: MKL's kernel for up to three rows and for weights that fit a cache, oneDNN's for more rows of large weights (`Linear`): a
question, or an answer's drafted tokens. With 3584 x 18944 weights and 8 rows it takes 15 ms against 28 (two cores of a Xeon with
AVX-512; 4 rows 13 against 18, 32 rows 26 against 33, 400 rows 185 against 200).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

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


FEWEST_ROWS = 4
"""Below, MKL reads large weights faster than oneDNN."""

LARGE_WEIGHTS = 2**21
"""Number of weights above which oneDNN is the faster one: smaller matrices stay in a cache of two cores."""

# Torch has no public call for it; its compiler uses this one. Absent where torch is built without oneDNN.
_onednn_linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


class Linear(nn.Linear):
    """`nn.Linear` with the faster kernel for float32 on a CPU; results differ by rounding."""

    def forward(self, x: Tensor) -> Tensor:
        # x: [..., in]
        if _onednn_linear is None or not onednn_is_faster(x, self.weight):
            return super().forward(x)
        product: Tensor = _onednn_linear(x, self.weight, self.bias, "none", [], "")
        return product


def onednn_is_faster(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN's kernel, which has no gradients, multiplies x [..., in] by `weight` [out, in] faster than MKL's."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == x.dtype == torch.float32
        and weight.numel() >= LARGE_WEIGHTS
        and x.numel() >= FEWEST_ROWS * x.shape[-1]
        and not torch.is_grad_enabled()
        and bool(mkldnn.enabled)
    )
