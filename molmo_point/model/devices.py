"""A device's name -> an available torch device."""

from __future__ import annotations

from collections.abc import Callable

import torch

from molmo_point.errors import UsageError

_COUNTS: dict[str, Callable[[], int]] = {
    "cpu": lambda: 1,
    "cuda": lambda: torch.cuda.device_count() if torch.cuda.is_available() else 0,
    "mps": lambda: int(torch.backends.mps.is_available()),
    "xpu": lambda: torch.xpu.device_count() if torch.xpu.is_available() else 0,
}
"""Kinds of devices, and how many of each this machine has."""


def find_device(name: str | torch.device) -> torch.device:
    """Return the device of that name; "auto" is CUDA if available, else Apple's MPS, else the CPU.

    Raises:
        UsageError: An unknown kind of device, or one that this machine lacks.
    """
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if _COUNTS[kind]()))
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in _COUNTS:
        raise UsageError(
            f"device (--device): expected auto, cpu, cuda, cuda:1, mps or xpu, got {str(name)!r}"
        )
    count = _COUNTS[device.type]()
    if not count:
        raise UsageError(
            f"device (--device): there is no {device.type} device here (asked for {str(name)!r}): take 'cpu' or 'auto'"
        )
    if device.index is not None and device.index >= count:
        raise UsageError(
            f"device (--device): the {device.type} devices here are {device.type}:0 to "
            f"{device.type}:{count - 1}, got {str(name)!r}"
            if count > 1
            else f"device (--device): the only {device.type} device here is {device.type}:0, got {str(name)!r}"
        )
    return device
