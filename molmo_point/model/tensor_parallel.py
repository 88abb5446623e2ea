"""Tensor parallelism, as in Megatron-LM (arXiv 1909.08053): each process holds a shard of every decoder block.

Attention heads and feed-forward columns are split; vision tower, connector, embedding, norms and output head are whole in every
process. Each block then needs two sums over all processes, made by torch's DTensor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from molmo_point.checkpoints.config import DecoderConfig, MolmoConfig
from molmo_point.errors import UsageError
from molmo_point.model.checkpoint_names import ParameterSlice
from molmo_point.model.molmo import Molmo

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_BLOCK = re.compile(r"decoder\.blocks\.\d+\.(.+)")


@dataclass(frozen=True)
class Shard:
    """Shard `rank` of `world_size` shards."""

    rank: int
    world_size: int

    def config(self, config: MolmoConfig) -> MolmoConfig:
        """Return the sizes of this shard.

        Raises:
            UsageError: The model cannot be split evenly over `world_size` processes.
        """
        decoder, world = config.decoder, self.world_size
        if decoder.experts or (decoder.qk_norm and not decoder.norm_heads):
            raise UsageError(
                "only Molmo-7B-D, 72B, Molmo2-4B and 8B can be split: the norm over the full width of q and k (7B-O, "
                "Molmo2-O-7B) and mixtures of experts (MolmoE-1B) need other sums; they fit on one device"
            )
        if decoder.heads % world or decoder.kv_heads % world or decoder.ffn_width % world:
            raise UsageError(
                f"{decoder.heads} heads, {decoder.kv_heads} key heads and {decoder.ffn_width} feed-forward columns cannot be "
                f"split evenly over {world} processes"
            )
        part = replace(
            decoder,
            heads=decoder.heads // world,
            kv_heads=decoder.kv_heads // world,
            ffn_width=decoder.ffn_width // world,
            head_width=decoder.head_dim,
        )
        return replace(config, decoder=part)

    def parameter_slices(
        self, config: DecoderConfig, whole: Mapping[str, ParameterSlice]
    ) -> dict[str, ParameterSlice]:
        """Return the parameter slices of the whole model, restricted to the part of each file tensor that this shard reads."""
        q, kv, ffn = config.query_width, config.kv_width, config.ffn_width
        qkv = (self._part(0, q), self._part(q, kv), self._part(q + kv, kv))
        rows = {
            "attention.qkv.weight": qkv,
            "attention.qkv.bias": qkv,
            "ffn.up_gate.weight": (self._part(0, ffn), self._part(ffn, ffn)),
        }
        columns = {
            "attention.out.weight": (self._part(0, q),),
            "ffn.down.weight": (self._part(0, ffn),),
        }
        own = {}
        for key, part in whole.items():
            match = _BLOCK.fullmatch(part.parameter)
            name = match[1] if match else ""
            own[key] = replace(part, rows=rows.get(name, ()), columns=columns.get(name, ()))
        return own

    def _part(self, start: int, width: int) -> slice:
        step = width // self.world_size
        return slice(start + self.rank * step, start + (self.rank + 1) * step)


def apply_tensor_parallel(model: Molmo, mesh: DeviceMesh) -> Molmo:
    """Return the model, a shard (see `Shard`), with a sum over `mesh` after each attention and feed-forward layer.

    Every process must ask the same questions in the same order; all get the same answers.
    """
    # Imported here: the import takes a second, and few models are split.
    from torch.distributed.tensor import DTensor, Partial

    def total(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return DTensor.from_local(output, mesh, [Partial()]).full_tensor()

    for name, module in model.decoder.named_modules():
        if name.endswith(("attention.out", "ffn.down")):
            module.register_forward_hook(total)
    return model
