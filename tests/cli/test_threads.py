"""Threads of the commands that train: seen in a process of its own, because numpy's are fixed when it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = "import os, numpy; numpy.ones((512, 512)) @ numpy.ones((512, 512)); print(len(os.listdir('/proc/self/task')))"


def threads(code: str, **environment: str) -> int:
    """Run code in a new process, then a product of numpy's; return the number of threads there are."""
    clean = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code + COUNT],
        capture_output=True,
        text=True,
        timeout=300,
        env={**clean, **environment},
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_a_command_that_trains_computes_numpys_products_in_one_thread() -> None:
    many = threads("")
    if many == 1:
        pytest.skip("numpy's products use one thread here in any case")
    limit = (
        "import sys; from molmo_point.cli.train import one_blas_thread; assert 'numpy' not in sys.modules;"
        "one_blas_thread(); "
    )
    assert threads(limit) == 1
    # Who says otherwise is heard.
    assert threads(limit, OPENBLAS_NUM_THREADS="2") == 2
