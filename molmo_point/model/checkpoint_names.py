"""Published tensor names -> our parameters: the one place that knows how checkpoints spell things (molmo.md section 7).

Three dialects: the released dense files, the released MolmoE files, and the training repository's own files (no `model.`
prefix; experts concatenated in the names of megablocks). Several tensors of a file may fill one parameter of ours: q, k and v
of the vision tower, the experts of a mixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from molmo_point.checkpoints.config import DecoderConfig, MolmoConfig


class Dialect(Enum):
    """Who wrote the file."""

    DENSE = "released dense"
    MIXTURE = "released MolmoE"
    TRAINING = "training repository"


@dataclass(frozen=True)
class Slot:
    """Where one tensor of a file goes.

    Attributes:
        parameter: Name of our parameter.
        select: What part of it the tensor fills; () = all.
        transposed: The file holds the last two axes the other way round.
        merged: The file holds the first two axes of the part as one.
        rows, columns: What of the file's tensor is taken, one behind the other; () = all. For a share of a model that is split.
    """

    parameter: str
    select: tuple[slice | int, ...] = ()
    transposed: bool = False
    merged: bool = False
    rows: tuple[slice, ...] = ()
    columns: tuple[slice, ...] = ()

    def view(self, parameter: Tensor) -> Tensor:
        """Return the part of our parameter, in the file's orientation of axes (a view: writing to it fills the parameter)."""
        part = parameter[self.select] if self.select else parameter
        return part.transpose(-1, -2) if self.transposed else part

    def file_shape(self, parameter: Tensor) -> tuple[int, ...]:
        """Return the shape that the tensor has in the file."""
        shape = tuple(self.view(parameter).shape)
        return (shape[0] * shape[1], *shape[2:]) if self.merged else shape


def detect_dialect(keys: set[str], config: DecoderConfig) -> Dialect:
    """Tell the dialect from the names in a file."""
    if any(key.startswith("transformer.") for key in keys):
        return Dialect.TRAINING
    return Dialect.MIXTURE if config.experts else Dialect.DENSE


def slots(config: MolmoConfig, dialect: Dialect) -> dict[str, Slot]:
    """Return {name in the file: slot} for everything the network has."""
    prefix = "" if dialect is Dialect.TRAINING else "model."
    table = {prefix + name: slot for name, slot in _vision(config)}
    table |= {prefix + name: slot for name, slot in _decoder(config.decoder, dialect)}
    head = "lm_head.weight" if dialect is Dialect.MIXTURE else f"{prefix}transformer.ff_out.weight"
    table[head] = Slot("decoder.head.weight")
    return table


def spare_prefixes(config: MolmoConfig, dialect: Dialect) -> tuple[str, ...]:
    """Prefixes of tensors that no output depends on: vision blocks above the last one that is used."""
    start = ("" if dialect is Dialect.TRAINING else "model.") + _BLOCKS
    vision = config.vision
    return tuple(f"{start}{index}." for index in range(vision.used_layers, vision.layers))


_BLOCKS = "vision_backbone.image_vit.transformer.resblocks."


def _vision(config: MolmoConfig) -> Iterator[tuple[str, Slot]]:
    vit = "vision_backbone.image_vit."
    yield vit + "class_embedding", Slot("vision.class_embedding")
    yield vit + "positional_embedding", Slot("vision.positional_embedding")
    yield vit + "patch_embedding.weight", Slot("vision.patch_embedding.weight")
    for kind in ("weight", "bias"):
        yield f"{vit}pre_ln.{kind}", Slot(f"vision.pre_norm.{kind}")
        for index in range(config.vision.layers):
            yield from _vision_block(config, index, kind)
        yield from _pooling(config, kind)
    yield "vision_backbone.pad_embed", Slot("connector.pad_embed")
    width = config.projector_width
    projector = "vision_backbone.image_projector."
    yield projector + "w1.weight", Slot("connector.gate_up.weight", (slice(0, width),))
    yield projector + "w3.weight", Slot("connector.gate_up.weight", (slice(width, 2 * width),))
    yield projector + "w2.weight", Slot("connector.down.weight")


def _vision_block(config: MolmoConfig, index: int, kind: str) -> Iterator[tuple[str, Slot]]:
    theirs, ours = f"{_BLOCKS}{index}.", f"vision.blocks.{index}."
    inner = config.vision.heads * config.vision.head_dim
    for place, name in enumerate(("wq", "wk", "wv")):
        rows = slice(place * inner, (place + 1) * inner)
        yield f"{theirs}attention.{name}.{kind}", Slot(f"{ours}qkv.{kind}", (rows,))
    yield f"{theirs}attention.wo.{kind}", Slot(f"{ours}attention_out.{kind}")
    yield f"{theirs}feed_forward.w1.{kind}", Slot(f"{ours}mlp_in.{kind}")
    yield f"{theirs}feed_forward.w2.{kind}", Slot(f"{ours}mlp_out.{kind}")
    yield f"{theirs}attention_norm.{kind}", Slot(f"{ours}attention_norm.{kind}")
    yield f"{theirs}ffn_norm.{kind}", Slot(f"{ours}mlp_norm.{kind}")


def _pooling(config: MolmoConfig, kind: str) -> Iterator[tuple[str, Slot]]:
    theirs = "vision_backbone.image_pooling_2d."
    inner = config.vision.heads * config.vision.head_dim
    yield f"{theirs}wq.{kind}", Slot(f"connector.query.{kind}")
    yield f"{theirs}wk.{kind}", Slot(f"connector.key_value.{kind}", (slice(0, inner),))
    yield f"{theirs}wv.{kind}", Slot(f"connector.key_value.{kind}", (slice(inner, 2 * inner),))
    yield f"{theirs}wo.{kind}", Slot(f"connector.pool_out.{kind}")


def _decoder(config: DecoderConfig, dialect: Dialect) -> Iterator[tuple[str, Slot]]:
    rows = config.embedding_size
    yield "transformer.wte.embedding", Slot("decoder.embedding.weight", (slice(0, rows),))
    yield "transformer.wte.new_embedding", Slot("decoder.embedding.weight", (slice(rows, None),))
    yield "transformer.ln_f.weight", Slot("decoder.norm.weight")
    for index in range(config.layers):
        theirs, ours = f"transformer.blocks.{index}.", f"decoder.blocks.{index}."
        attention = theirs + ("attn." if dialect is Dialect.MIXTURE else "")
        yield attention + "att_proj.weight", Slot(ours + "attention.qkv.weight")
        if config.qkv_bias:
            yield attention + "att_proj.bias", Slot(ours + "attention.qkv.bias")
        yield attention + "attn_out.weight", Slot(ours + "attention.out.weight")
        yield attention + "attn_norm.weight", Slot(ours + "attention_norm.weight")
        if config.qk_norm:
            yield attention + "q_norm.weight", Slot(ours + "attention.q_norm.weight")
            yield attention + "k_norm.weight", Slot(ours + "attention.k_norm.weight")
        norm = theirs + ("mlp." if dialect is Dialect.MIXTURE else "") + "ff_norm.weight"
        yield norm, Slot(ours + "ffn_norm.weight")
        yield from _feed_forward(config, dialect, theirs, ours + "ffn.")


def _feed_forward(
    config: DecoderConfig, dialect: Dialect, theirs: str, ours: str
) -> Iterator[tuple[str, Slot]]:
    up, gate = slice(0, config.ffn_width), slice(config.ffn_width, None)
    if not config.experts:
        yield theirs + "ff_proj.weight", Slot(ours + "up_gate.weight")
        yield theirs + "ff_out.weight", Slot(ours + "down.weight")
        return
    if dialect is Dialect.TRAINING:
        every = slice(None)
        yield theirs + "ffn.router.layer.weight", Slot(ours + "router.weight")
        mlp = theirs + "ffn.experts.mlp."
        yield mlp + "w1", Slot(ours + "up_gate", (every, gate), merged=True)
        yield mlp + "v1", Slot(ours + "up_gate", (every, up), merged=True)
        yield mlp + "w2", Slot(ours + "down", (), transposed=True, merged=True)
        return
    yield theirs + "mlp.gate.weight", Slot(ours + "router.weight")
    for expert in range(config.experts):
        one = f"{theirs}mlp.experts.{expert}."
        yield one + "gate_proj.weight", Slot(ours + "up_gate", (expert, gate))
        yield one + "up_proj.weight", Slot(ours + "up_gate", (expert, up))
        yield one + "down_proj.weight", Slot(ours + "down", (expert,))
