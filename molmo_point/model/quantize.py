"""Low-bit weights for the language model through torchao; vision tower and connector keep their type.

Quantizing all weights moves points by tens of pixels while average scores hardly change. Only the decoder's matrices are
quantized, without the output head, whose logits choose the digits.
"""

from __future__ import annotations

import torch
from torch import nn

from molmo_point.errors import UsageError
from molmo_point.install import import_failure
from molmo_point.model.molmo import Molmo

SCHEMES = ("int8", "int4")


def check_scheme(scheme: str) -> None:
    """Refuse an unknown scheme before anything is loaded.

    Raises:
        UsageError: With the known schemes.
    """
    if scheme not in SCHEMES:
        raise UsageError(f"expected quantize to be one of {', '.join(SCHEMES)}, got {scheme!r}")


def quantize_decoder(model: Molmo, scheme: str, *, device: torch.device | None = None) -> Molmo:
    """Quantize the weights of the decoder's linear layers in place; return the model.

    Args:
        scheme: "int8" (weights only, one scale per output row) or "int4" (groups of 32 or 128 along the input).
        device: Target device. The model is moved block by block, and each block is quantized there, so that the device needs
            memory for the quantized model only. None = the model stays where it is.

    Raises:
        UsageError: Unknown scheme, or a mixture of experts, whose stacked weights torchao does not support.
        MissingExtra: torchao is not installed.
    """
    check_scheme(scheme)
    if model.config.decoder.experts:
        raise UsageError(
            "the experts of MolmoE-1B are stacked tensors that torchao cannot quantize: load it in bfloat16 (14.4 GB)"
        )
    try:
        from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, quantize_
        from torchao.quantization.granularity import PerGroup
    except ImportError as error:
        raise import_failure(
            error, "torchao", "quantize", "Loading with low-bit weights"
        ) from error
    if scheme == "int8":
        config = Int8WeightOnlyConfig()
    else:
        widths = {
            m.in_features for m in model.decoder.blocks.modules() if isinstance(m, nn.Linear)
        }
        group = 128 if all(width % 128 == 0 for width in widths) else 32
        config = IntxWeightOnlyConfig(
            weight_dtype=torch.int4,  # type: ignore[attr-defined]
            granularity=PerGroup(group),
        )
    for block in model.decoder.blocks:
        quantize_(block if device is None else block.to(device), config)
    return model if device is None else model.to(device)
