"""In which types a network is loaded, and whether its weights fit into the machine's memory.

"auto" is bfloat16 on CUDA. On a CPU that multiplies bfloat16 the vision tower and the connector, whose products are most of the
wait for an image, are bfloat16; so is the decoder, except that of a small network: its passes are not limited by the bytes of its
weights, and rounding moves its points. There only image tokens are read with bfloat16 products (`image_reader`). docs/models.md
has the points that each type moves and the time that it saves.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import torch

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.errors import ModelFailed, UsageError
from molmo_point.machine_memory import available_bytes
from molmo_point.model.cpu_features import computes_in_bfloat16
from molmo_point.model.image_reader import image_reader
from molmo_point.model.molmo import Molmo
from molmo_point.model.quantize import SCHEMES, replace_by_low_bits

log = logging.getLogger(__name__)

DTYPES = ("auto", "float32", "bfloat16", "float16")

VARIABLE = "MOLMO_POINT_DTYPE"
"""Environment variable: what "auto" means, for runs whose answers must not depend on the machine."""

SMALL_BYTES = 1_000_000_000
"""A decoder whose float32 weights take less stays float32 under "auto" on a CPU; a pass reads so much in some 30 ms."""

LOADING = 1.05
"""Memory while loading, in sizes of the loaded weights: a tensor of a file on top."""

OTHER_BYTES = 500_000_000
"""What keys and values of one answer, activations and the caches take at least, in bytes."""


@dataclass(frozen=True)
class WeightTypes:
    """Types of a network's parts.

    Attributes:
        decoder: Of the decoder's weights, keys and values; of low-bit weights, of the activations.
        vision: Of the vision tower and the connector.
    """

    decoder: torch.dtype
    vision: torch.dtype

    def __str__(self) -> str:
        return str(self.decoder).removeprefix("torch.")


FLOAT32 = WeightTypes(torch.float32, torch.float32)
BFLOAT16 = WeightTypes(torch.bfloat16, torch.bfloat16)


def choose_types(
    dtype: str,
    device: torch.device,
    config: MolmoConfig,
    scheme: str | None = None,
    *,
    shards: int = 1,
) -> WeightTypes:
    """Return the types that a `dtype` of `load` stands for.

    Args:
        dtype: One of DTYPES.
        scheme: Of low-bit weights; None = full weights.
        shards: Number of processes that share the model; only a whole one is held against this machine's memory.

    Raises:
        UsageError: The variable MOLMO_POINT_DTYPE holds something else.
        ModelFailed: The weights do not fit into the memory that is free; the message says what would.
    """
    if dtype == "auto":
        dtype = os.environ.get(VARIABLE) or "auto"
        if dtype not in DTYPES:
            raise UsageError(
                f"expected {VARIABLE} to be one of {', '.join(DTYPES)}, got {dtype!r}"
            )
    if dtype != "auto":
        kind: torch.dtype = getattr(torch, dtype)
        chosen = WeightTypes(kind, kind)
    elif device.type == "cuda":
        chosen = BFLOAT16
    elif device.type == "cpu":
        chosen = _for_this_processor(config, scheme)
    else:
        chosen = FLOAT32
    if device.type == "cpu" and shards == 1:
        _check_memory(config, chosen, scheme)
    return chosen


def weight_bytes(config: MolmoConfig, types: WeightTypes, scheme: str | None = None) -> int:
    """Return the bytes that a network's weights take in memory, scales of low bits included; takes none itself."""
    with torch.device("meta"):
        model = Molmo(config)
        if scheme is not None:
            replace_by_low_bits(model, scheme)
    model.to_types(types.decoder, types.vision)
    tensors = {
        id(tensor): tensor.numel() * tensor.element_size()
        for part in (model, image_reader(model))
        for tensor in (*part.parameters(), *part.buffers())
    }
    return sum(tensors.values())


def bytes_needed(config: MolmoConfig, types: WeightTypes, scheme: str | None = None) -> int:
    """Return the bytes of memory that loading a network and answering one question take at least."""
    return int(weight_bytes(config, types, scheme) * LOADING) + OTHER_BYTES


def _for_this_processor(config: MolmoConfig, scheme: str | None) -> WeightTypes:
    """Return what "auto" means on this CPU."""
    if computes_in_bfloat16():
        with torch.device("meta"):
            decoder = Molmo(config).decoder
        numbers = sum(parameter.numel() for parameter in decoder.parameters())
        small = numbers * torch.float32.itemsize < SMALL_BYTES
        return WeightTypes(torch.float32 if small else torch.bfloat16, torch.bfloat16)
    available = available_bytes()
    if available is None or bytes_needed(config, FLOAT32, scheme) <= available:
        return FLOAT32
    log.warning(
        "float32 takes %.1f GB, %.1f GB of memory are free: loading in bfloat16, which this processor computes slowly",
        bytes_needed(config, FLOAT32, scheme) / 1e9,
        available / 1e9,
    )
    return BFLOAT16


def _check_memory(config: MolmoConfig, types: WeightTypes, scheme: str | None) -> None:
    """Refuse what the system would end while it is being loaded.

    Raises:
        ModelFailed: It needs more memory than is free.
    """
    available = available_bytes()
    if available is None or (needed := bytes_needed(config, types, scheme)) <= available:
        return
    smaller = {
        f"quantize={name!r}": bytes_needed(config, BFLOAT16, name)
        for name in SCHEMES
        if name != scheme
    }
    if types.decoder is torch.float32:
        smaller = {"dtype='bfloat16'": bytes_needed(config, BFLOAT16, scheme), **smaller}
    fitting = [
        f"{how} ({size / 1e9:.1f} GB)" for how, size in smaller.items() if size <= available
    ]
    advice = "no type fits: take a smaller model, or ask a server with `connect`"
    if fitting:
        advice = f"load it with {' or '.join(fitting)}"
    raise ModelFailed(
        f"out of memory before loading: the model takes {needed / 1e9:.1f} GB {f'in {scheme}' if scheme else f'in {types}'}, "
        f"{available / 1e9:.1f} GB are free; {advice}"
    )
