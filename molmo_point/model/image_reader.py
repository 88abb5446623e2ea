"""The decoder as it reads image tokens: where the vision tower is bfloat16 and the decoder float32, its products are bfloat16.

An image is some hundred to two thousand tokens, and nearly all of the decoder's arithmetic. A small decoder is float32 on a CPU
because in bfloat16 the logits of its coordinates are rounded and points move (`weight_types`); the tokens of an image write no
logits. So only their matrix products are bfloat16, with float32 sums; everything between them (norms, attention, keys and values)
and the whole question and answer stay float32.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from molmo_point.model.decoder import Decoder
from molmo_point.model.molmo import Molmo

LARGE = 2**18
"""Numbers in a matrix whose products are worth rounding for. Those of `nano` are smaller: half the time of these products would
be 2 % of its answer's."""


class Bfloat16Product(nn.Module):
    """A linear layer of float32 inputs and results whose product is bfloat16.

    Args:
        linear: The layer; its weights are copied, rounded.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().to(torch.bfloat16))
        bias = linear.bias
        self.register_buffer("bias", None if bias is None else bias.detach().to(torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        # x: [..., in]
        return F.linear(x.to(torch.bfloat16), self.weight, self.bias).float()


def image_reader(model: Molmo) -> Decoder:
    """Return the decoder that runs image tokens: the model's own, or one with bfloat16 products that shares all else with it.

    The second takes half the decoder's memory once more; only small decoders are float32 beside a bfloat16 vision tower.
    """
    decoder = model.decoder
    if model.dtype is not torch.float32 or model.vision_dtype is not torch.bfloat16:
        return decoder
    shared = {id(tensor): tensor for tensor in (*decoder.parameters(), *decoder.buffers())}
    reader = copy.deepcopy(decoder, shared)
    replaced = 0
    for module in list(reader.blocks.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and name != "router" and child.weight.numel() >= LARGE:
                setattr(module, name, Bfloat16Product(child))
                replaced += 1
    return reader if replaced else decoder
