"""Low-bit weights for the language model: which layers hold them, and in which scheme.

Quantizing all weights moves points by tens of pixels while average scores hardly change. The decoder's matrices are quantized,
experts included, and its embedding table (int8 in either scheme). The output head, whose logits choose the digits, routers,
norms, the vision tower and the connector keep their type.
"""

from __future__ import annotations

from torch import nn

from molmo_point.checkpoints import low_bit_format
from molmo_point.errors import UsageError
from molmo_point.model.decoder import DecoderBlock
from molmo_point.model.low_bits import (
    Int4Matrix,
    Int8Matrix,
    LowBitEmbedding,
    LowBitLinear,
    LowBitMatrix,
)
from molmo_point.model.mixture import MixtureOfExperts
from molmo_point.model.molmo import Molmo

SCHEMES: dict[str, type[LowBitMatrix]] = dict(
    zip(low_bit_format.SCHEMES, (Int8Matrix, Int4Matrix), strict=True)
)
"""The matrix of each scheme."""


def check_scheme(scheme: str) -> None:
    """Refuse an unknown scheme before anything is loaded.

    Raises:
        UsageError: With the known schemes.
    """
    if scheme not in SCHEMES:
        raise UsageError(f"expected quantize to be one of {', '.join(SCHEMES)}, got {scheme!r}")


def replace_by_low_bits(model: Molmo, scheme: str) -> Molmo:
    """Replace the decoder's large matrices by empty ones of few bits, in place; return the model.

    Called on a model that is built on the meta device: no memory is taken for the full weights.

    Args:
        scheme: "int8" (one scale per output row) or "int4" (groups of up to 128 along the input).

    Raises:
        UsageError: Unknown scheme.
    """
    check_scheme(scheme)
    kind = SCHEMES[scheme]
    decoder = model.decoder
    for block in decoder.blocks:
        assert isinstance(block, DecoderBlock)
        for parent in (block.attention, block.ffn):
            for name, child in parent.named_children():
                if isinstance(child, nn.Linear) and name != "router":
                    matrix = kind(tuple(child.weight.shape))
                    setattr(parent, name, LowBitLinear(matrix, child.bias))
        if isinstance(block.ffn, MixtureOfExperts):
            block.ffn.use_low_bits(kind)
    # Training, which needs the full table, never meets a quantized model.
    setattr(  # noqa: B010
        decoder, "embedding", LowBitEmbedding(Int8Matrix(tuple(decoder.embedding.weight.shape)))
    )
    return model


def low_bit_matrices(model: Molmo) -> dict[str, LowBitMatrix]:
    """Return the low-bit matrices by the names of the parameters that they replace."""
    return {
        name: module for name, module in model.named_modules() if isinstance(module, LowBitMatrix)
    }


def scheme_of(model: Molmo) -> str | None:
    """Return the scheme of the decoder's blocks, None for full weights."""
    qkv = model.decoder.blocks[0].get_submodule("attention.qkv")
    if not isinstance(qkv, LowBitLinear):
        return None
    return next(name for name, kind in SCHEMES.items() if isinstance(qkv.weight, kind))
