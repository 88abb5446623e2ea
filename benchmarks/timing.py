"""Time alternatives in turn: on a noisy machine only neighbouring measurements compare."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def clock(work: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternate(rounds: int, **sides: Callable[[], Any]) -> dict[str, list[float]]:
    """Time several ways of doing a thing in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for work in sides.values():
        work()
    for _ in range(rounds):
        for name, work in sides.items():
            seconds[name].append(clock(work))
    return seconds


def ratio(slow: list[float], fast: list[float]) -> str:
    """Return the median of the pairwise ratios."""
    return f"{statistics.median(a / b for a, b in zip(slow, fast, strict=True)):.2f}x"
