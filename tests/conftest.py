"""Settings of every test run."""

from __future__ import annotations

import os

# Before torch and numpy are imported: the models of the tests are small, and threads that wait for each other on a busy
# machine cost far more than they save.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# Answers must be the same on every processor; `tests/core/test_weight_types.py` says what "auto" means without this.
os.environ.setdefault("MOLMO_POINT_DTYPE", "float32")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# Times say nothing on shared machines; the same examples every time keep a failure in CI reproducible on a laptop.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the lengthy tests; the order is otherwise that of the files."""
    items.sort(key=lambda item: item.get_closest_marker("lengthy") is None)
