"""How much memory this machine, or the container it runs in, has for a model: in all, and now."""

from __future__ import annotations

import os
from pathlib import Path

LOADING = 1.15
"""Peak while loading, in sizes of the loaded weights (docs/models.md)."""

PROGRAM_BYTES = 2 * 10**9
"""Python, torch, keys and values of one answer, and the caches."""

_CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_USED = {"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}
_MEMINFO = Path("/proc/meminfo")


def machine_bytes() -> int | None:
    """Return the RAM in bytes: the machine's, or less where a container's limit is lower. None where the system does not say."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return None
    found += [limit for path in _CGROUPS if (limit := _number(path)) is not None]
    return min(found) if min(found) > 0 else None


def available_bytes() -> int | None:
    """Return the bytes that a program can still take without swapping: the machine's, or less where a container has less left.

    None where the system does not say (it has no /proc/meminfo).
    """
    try:
        lines = _MEMINFO.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found = [1024 * int(line.split()[1])]
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    for path in _CGROUPS:
        limit, used = _number(path), _number(path.with_name(_USED.get(path.name, path.name)))
        if limit is not None and used is not None:
            found.append(limit - used + _file_pages(path.with_name("memory.stat")))
    return max(0, min(found))


def fits(weights: int) -> bool | None:
    """Whether weights of that many bytes fit into the RAM of this machine when nothing else large runs; None if unknown.

    Args:
        weights: Bytes in the type that is loaded; 0 where it is unknown.
    """
    total = machine_bytes()
    if total is None or weights <= 0:
        return None
    return weights * LOADING + PROGRAM_BYTES <= total


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return None


def _file_pages(statistics: Path) -> int:
    """Return the bytes of a container's use that are cached files, which the system drops when memory is asked for."""
    try:
        lines = statistics.read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, IndexError):
        return 0
