"""How much memory this machine, or the container it runs in, has for a model."""

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


def machine_bytes() -> int | None:
    """Return the RAM in bytes: the machine's, or less where a container's limit is lower. None where the system does not say."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return None
    for path in _CGROUPS:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return min(found) if min(found) > 0 else None


def fits(weights: int) -> bool | None:
    """Whether weights of that many bytes fit into the RAM of this machine when nothing else large runs; None if unknown.

    Args:
        weights: Bytes in the type that is loaded; 0 where it is unknown.
    """
    total = machine_bytes()
    if total is None or weights <= 0:
        return None
    return weights * LOADING + PROGRAM_BYTES <= total
