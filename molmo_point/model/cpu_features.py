"""What this machine's processor computes in, as torch knows it."""

from __future__ import annotations

import functools

import torch

_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Names that torch gives to instructions which multiply bfloat16."""


@functools.cache
def cpu_capabilities() -> dict[str, bool]:
    """Return the processor's instruction sets by torch's names; empty where torch does not say."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return {}
    return {name: bool(value) for name, value in torch.cpu.get_capabilities().items()}


@functools.cache
def computes_in_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware and torch has the library (oneDNN) that uses it.

    Others convert each number to float32 first: slower than float32 itself.
    """
    has = any(cpu_capabilities().get(name, False) for name in _BFLOAT16)
    return has and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


@functools.cache
def has_amx() -> bool:
    """Whether the processor multiplies tiles of bfloat16 (AMX)."""
    return computes_in_bfloat16() and cpu_capabilities().get("amx_bf16", False)
