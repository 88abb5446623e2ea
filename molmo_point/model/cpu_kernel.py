"""Products of a bfloat16 matrix and one row on the CPU, as decoding makes them: torch's own kernel in the place of oneDNN's.

Such a product waits for memory alone, and torch's kernel reads the weights 1.7 times as fast (30-36 GB/s beside 15-23 on two
cores, `python -m benchmarks.engine bandwidth`); with more rows it is the other way round. Torch chooses by one switch for the
whole process: what another thread begins while one row is decoded may take the other kernel too, as right and slower.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor

mkldnn = torch.backends.mkldnn


class Switch:
    """Keeps oneDNN off while anybody needs it off, and puts it back as it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = True

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Off while the block runs, in every thread."""
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
    mkldnn.enabled = on  # type: ignore[assignment]  # a property of the module, which its stub does not say


SWITCH = Switch()
"""One for the process, as the switch it turns."""


def fastest_kernel(x: Tensor, weight: Tensor) -> AbstractContextManager[None]:
    """Choose the kernel for products of `weight`, and others like it, with the rows of `x`, [..., D]."""
    one_row = x.numel() == x.shape[-1]
    ours = one_row and weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    return SWITCH.off() if ours else contextlib.nullcontext()
