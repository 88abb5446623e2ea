"""The header and the tables that benchmarks print."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def hardware() -> str:
    """Return one line: processor, cores, threads, versions."""
    import torch

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {device}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table, ready for the documentation."""
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
    sys.stdout.flush()


def spread(seconds: Sequence[float], unit: float = 1e3) -> str:
    """Return median and range, in milliseconds unless told otherwise."""
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"{middle * unit:.4g} ({low * unit:.4g}-{high * unit:.4g})"
