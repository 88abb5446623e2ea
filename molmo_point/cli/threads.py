"""How many threads a command that trains computes with."""

from __future__ import annotations

import os

BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""Environment variable that numpy's BLAS reads when it is loaded."""


def limit_threads(threads: int) -> None:
    """Set torch's threads, and numpy's to one unless the environment says otherwise; called before either is imported.

    numpy's products are those of narrow blocks in which images are resized, in the processes that make batches. Two threads of
    such a product wait for each other, spinning: beside other work an image costs many times the CPU time.
    """
    os.environ.setdefault(BLAS_THREADS, "1")
    import torch

    torch.set_num_threads(threads)
