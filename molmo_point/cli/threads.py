"""Threads of numpy in a command that trains."""

from __future__ import annotations

import os

BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""Environment variable that numpy's BLAS reads when it is loaded."""


def one_blas_thread() -> None:
    """Let numpy compute products in one thread, unless the environment says otherwise; called before numpy is imported.

    The products are those of narrow blocks in which images are resized, in the processes that make batches. Two threads of such a
    product wait for each other, spinning: beside other work an image costs several times the CPU time.
    """
    os.environ.setdefault(BLAS_THREADS, "1")
