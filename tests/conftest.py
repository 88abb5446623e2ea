"""Settings of every test run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Times say nothing on shared machines; the same examples every time keep a failure in CI reproducible on a laptop.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("default")
