"""Time and peak memory of loading a checkpoint, relative to the size of its weights.

    python -m benchmarks.load [--gigabytes 2.2] [--shards 1] [--folder DIR]

Each load runs in a process of its own; memory is the peak resident size minus that before loading. Files are read once before, so
that the disk's speed does not count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.random_checkpoint import MID, write_checkpoint
from benchmarks.report import hardware, table

CHILD = """
import json, resource, sys, time, torch
from pathlib import Path
import molmo_point.model.weights as weights
from molmo_point.checkpoints.config import MolmoConfig
folder = Path(sys.argv[1])
def now(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024
before, start = now("VmRSS"), time.perf_counter()
model = weights.load_weights(folder, MolmoConfig.from_folder(folder), dtype=getattr(torch, sys.argv[2]))
seconds = time.perf_counter() - start
size = sum(p.numel() * p.element_size() for p in model.parameters())
print(json.dumps({"seconds": seconds, "peak": now("VmHWM") - before, "size": size}))
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.2)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "molmo_point_load"
    )
    arguments = parser.parse_args()
    # 13.8 M parameters a layer of this width; the rest is tower and embedding.
    layers = max(1, round((arguments.gigabytes * 1e9 / 4 - 640e6) / 13.8e6))
    config = {**MID, "num_hidden_layers": layers}
    folder = write_checkpoint(
        arguments.folder / f"{layers}-{arguments.shards}", config, shards=arguments.shards
    )
    for file in folder.glob("*.safetensors"):
        while_read = file.open("rb")
        while while_read.read(1 << 24):
            pass
    rows = []
    for dtype in ("float32", "bfloat16"):
        start = time.perf_counter()
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder), dtype],
            capture_output=True,
            text=True,
            check=True,
        )
        result = json.loads(child.stdout)
        rows.append(
            (
                dtype,
                f"{result['size'] / 1e9:.2f} GB",
                f"{result['seconds']:.2f} s",
                f"{result['peak'] / 1e9:.2f} GB",
                f"{result['peak'] / result['size']:.3f}",
                f"{time.perf_counter() - start:.1f} s",
            )
        )
    print(hardware())
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e9
    table(
        f"Loading {size:.2f} GB of float32 in {arguments.shards} file(s)",
        ("as", "weights", "load", "peak memory", "peak / weights", "whole process"),
        rows,
    )


if __name__ == "__main__":
    main()
