"""`python -m benchmarks`: the benchmarks that need nothing but this machine, one after another."""

from __future__ import annotations

import subprocess
import sys

for name in ("load", "core", "preprocess", "engine", "drafting"):
    print(f"\n## python -m benchmarks.{name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)
