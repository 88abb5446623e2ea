"""Tensor names of published checkpoints -> our parameters (molmo.md section 7, molmo2.md section 6).

The naming schemes are those of the released dense files, the released MolmoE files, the training repository's own files (no
`model.` prefix; experts concatenated under the names of megablocks), the released Molmo 2 files, and Molmo 2 as transformers 5
may write it. Several tensors of a file may fill one parameter: q, k and v of the vision tower, the experts of a mixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from molmo_point.checkpoints.config import DecoderConfig, MolmoConfig


class NamingScheme(Enum):
    """Naming scheme of a checkpoint file."""

    DENSE = "released dense"
    MIXTURE = "released MolmoE"
    TRAINING = "training repository"
    MOLMO2 = "released Molmo 2"
    TRANSFORMERS = "transformers 5"


@dataclass(frozen=True)
class ParameterSlice:
    """The part of a parameter that one tensor of a file fills.

    Attributes:
        parameter: Name of our parameter.
        select: The part, as an index into the parameter; () = all.
        transposed: The last two axes are swapped in the file.
        merged: The first two axes of the part are one axis in the file.
        rows, columns: Ranges of the file's tensor that are read and concatenated; () = all. Used by shards.
    """

    parameter: str
    select: tuple[slice | int, ...] = ()
    transposed: bool = False
    merged: bool = False
    rows: tuple[slice, ...] = ()
    columns: tuple[slice, ...] = ()

    def view(self, parameter: Tensor) -> Tensor:
        """Return the part of the parameter as a view, its axes in the order of the file."""
        part = parameter[self.select] if self.select else parameter
        return part.transpose(-1, -2) if self.transposed else part

    def file_shape(self, parameter: Tensor) -> tuple[int, ...]:
        """Return the shape of the tensor in the file."""
        shape = tuple(self.view(parameter).shape)
        return (shape[0] * shape[1], *shape[2:]) if self.merged else shape


def detect_naming_scheme(keys: set[str], config: DecoderConfig) -> NamingScheme:
    """Return the naming scheme of a file with these tensor names."""
    if config.image_block:
        theirs = any(key.startswith("model.language_model.") for key in keys)
        return NamingScheme.TRANSFORMERS if theirs else NamingScheme.MOLMO2
    if any(key.startswith("transformer.") for key in keys):
        return NamingScheme.TRAINING
    return NamingScheme.MIXTURE if config.experts else NamingScheme.DENSE


def parameter_slices(config: MolmoConfig, scheme: NamingScheme) -> dict[str, ParameterSlice]:
    """Return {name in the file: part of a parameter} for all parameters of the network."""
    if scheme is NamingScheme.TRANSFORMERS:
        return _renamed(config, parameter_slices(config, NamingScheme.MOLMO2))
    prefix = "" if scheme is NamingScheme.TRAINING else "model."
    table = {prefix + name: part for name, part in _vision(config)}
    table |= {prefix + name: part for name, part in _decoder(config.decoder, scheme)}
    old = scheme in (NamingScheme.DENSE, NamingScheme.TRAINING)
    if config.points is not None:
        return _with_point_heads(config, table)
    head = f"{prefix}transformer.ff_out.weight" if old else "lm_head.weight"
    table[head] = ParameterSlice("decoder.head.weight")
    return table


def spare_prefixes(config: MolmoConfig, scheme: NamingScheme) -> tuple[str, ...]:
    """Return the name prefixes of tensors that no output depends on: vision blocks above the last one that is used."""
    start = ("" if scheme is NamingScheme.TRAINING else "model.") + _BLOCKS
    if config.points is not None:
        start = start.replace(*_POINT_PARTS[0])
    vision = config.vision
    return tuple(f"{start}{index}." for index in range(vision.used_layers, vision.layers))


_BLOCKS = "vision_backbone.image_vit.transformer.resblocks."


def _vision(config: MolmoConfig) -> Iterator[tuple[str, ParameterSlice]]:
    vit = "vision_backbone.image_vit."
    clip = config.vision.kind == "clip"
    if clip:
        yield vit + "class_embedding", ParameterSlice("vision.class_embedding")
        yield "vision_backbone.pad_embed", ParameterSlice("connector.pad_embed")
    else:
        yield vit + "patch_embedding.bias", ParameterSlice("vision.patch_embedding.bias")
    yield vit + "positional_embedding", ParameterSlice("vision.positional_embedding")
    yield vit + "patch_embedding.weight", ParameterSlice("vision.patch_embedding.weight")
    for kind in ("weight", "bias"):
        if clip:
            yield f"{vit}pre_ln.{kind}", ParameterSlice(f"vision.pre_norm.{kind}")
        for index in range(config.vision.layers):
            yield from _vision_block(config, index, kind)
        yield from _pooling(config, kind)
    width = config.projector_width
    projector = "vision_backbone.image_projector."
    yield projector + "w1.weight", ParameterSlice("connector.gate_up.weight", (slice(0, width),))
    yield (
        projector + "w3.weight",
        ParameterSlice("connector.gate_up.weight", (slice(width, 2 * width),)),
    )
    yield projector + "w2.weight", ParameterSlice("connector.down.weight")


def _vision_block(
    config: MolmoConfig, index: int, kind: str
) -> Iterator[tuple[str, ParameterSlice]]:
    theirs, ours = f"{_BLOCKS}{index}.", f"vision.blocks.{index}."
    inner = config.vision.heads * config.vision.head_dim
    for index_qkv, name in enumerate(("wq", "wk", "wv")):
        rows = slice(index_qkv * inner, (index_qkv + 1) * inner)
        yield f"{theirs}attention.{name}.{kind}", ParameterSlice(f"{ours}qkv.{kind}", (rows,))
    yield f"{theirs}attention.wo.{kind}", ParameterSlice(f"{ours}attention_out.{kind}")
    yield f"{theirs}feed_forward.w1.{kind}", ParameterSlice(f"{ours}mlp_in.{kind}")
    yield f"{theirs}feed_forward.w2.{kind}", ParameterSlice(f"{ours}mlp_out.{kind}")
    yield f"{theirs}attention_norm.{kind}", ParameterSlice(f"{ours}attention_norm.{kind}")
    yield f"{theirs}ffn_norm.{kind}", ParameterSlice(f"{ours}mlp_norm.{kind}")


def _pooling(config: MolmoConfig, kind: str) -> Iterator[tuple[str, ParameterSlice]]:
    theirs = "vision_backbone.image_pooling_2d."
    inner = config.vision.heads * config.vision.head_dim
    yield f"{theirs}wq.{kind}", ParameterSlice(f"connector.query.{kind}")
    yield f"{theirs}wk.{kind}", ParameterSlice(f"connector.key_value.{kind}", (slice(0, inner),))
    yield (
        f"{theirs}wv.{kind}",
        ParameterSlice(f"connector.key_value.{kind}", (slice(inner, 2 * inner),)),
    )
    yield f"{theirs}wo.{kind}", ParameterSlice(f"connector.pool_out.{kind}")


def _decoder(config: DecoderConfig, scheme: NamingScheme) -> Iterator[tuple[str, ParameterSlice]]:
    rows = config.embedding_size
    yield (
        "transformer.wte.embedding",
        ParameterSlice("decoder.embedding.weight", (slice(0, rows),)),
    )
    yield (
        "transformer.wte.new_embedding",
        ParameterSlice("decoder.embedding.weight", (slice(rows, None),)),
    )
    yield "transformer.ln_f.weight", ParameterSlice("decoder.norm.weight")
    for index in range(config.layers):
        theirs, ours = f"transformer.blocks.{index}.", f"decoder.blocks.{index}."
        first = theirs + ("attn." if scheme is NamingScheme.MIXTURE else "")
        attention = theirs + "self_attn." if scheme is NamingScheme.MOLMO2 else first
        yield attention + "att_proj.weight", ParameterSlice(ours + "attention.qkv.weight")
        if config.qkv_bias:
            yield attention + "att_proj.bias", ParameterSlice(ours + "attention.qkv.bias")
        yield attention + "attn_out.weight", ParameterSlice(ours + "attention.out.weight")
        yield first + "attn_norm.weight", ParameterSlice(ours + "attention_norm.weight")
        if config.qk_norm:
            yield attention + "q_norm.weight", ParameterSlice(ours + "attention.q_norm.weight")
            yield attention + "k_norm.weight", ParameterSlice(ours + "attention.k_norm.weight")
        norm = theirs + ("mlp." if scheme is NamingScheme.MIXTURE else "") + "ff_norm.weight"
        yield norm, ParameterSlice(ours + "ffn_norm.weight")
        yield from _feed_forward(config, scheme, theirs, ours + "ffn.")


def _feed_forward(
    config: DecoderConfig, scheme: NamingScheme, theirs: str, ours: str
) -> Iterator[tuple[str, ParameterSlice]]:
    up, gate = slice(0, config.ffn_width), slice(config.ffn_width, None)
    if scheme is NamingScheme.MOLMO2:
        theirs += "mlp."
    if not config.experts:
        yield theirs + "ff_proj.weight", ParameterSlice(ours + "up_gate.weight")
        yield theirs + "ff_out.weight", ParameterSlice(ours + "down.weight")
        return
    if scheme is NamingScheme.TRAINING:
        every = slice(None)
        yield theirs + "ffn.router.layer.weight", ParameterSlice(ours + "router.weight")
        mlp = theirs + "ffn.experts.mlp."
        yield mlp + "w1", ParameterSlice(ours + "up_gate", (every, gate), merged=True)
        yield mlp + "v1", ParameterSlice(ours + "up_gate", (every, up), merged=True)
        yield mlp + "w2", ParameterSlice(ours + "down", (), transposed=True, merged=True)
        return
    yield theirs + "mlp.gate.weight", ParameterSlice(ours + "router.weight")
    for expert in range(config.experts):
        one = f"{theirs}mlp.experts.{expert}."
        yield one + "gate_proj.weight", ParameterSlice(ours + "up_gate", (expert, gate))
        yield one + "up_proj.weight", ParameterSlice(ours + "up_gate", (expert, up))
        yield one + "down_proj.weight", ParameterSlice(ours + "down", (expert,))


_POINT_PARTS = (("vision_backbone.image_vit.", "vit."), ("vision_backbone.", "connector."))
_POINT_HEADS = {
    "point_predictor.patch_q": "patch_query",
    "point_predictor.patch_k": "patch_key",
    "point_predictor.subpatch_q": "subpatch_query",
    "point_predictor.subpatch_k": "subpatch_key",
    "point_predictor.subpatch_loc_k": "location",
    "build_vit_embedding": "subpatch_embedding",
}


def _with_point_heads(
    config: MolmoConfig, hub: dict[str, ParameterSlice]
) -> dict[str, ParameterSlice]:
    """Return the table of MolmoPoint: other names in the vision path, tables in two parts, the heads that point."""
    table: dict[str, ParameterSlice] = {}
    for key, part in hub.items():
        for old, new in _POINT_PARTS:
            key = key.replace(old, new)
        if ".image_pooling_2d.wo." not in key:
            table[key] = part
    known, new_rows = slice(0, config.decoder.vocab_size), slice(config.decoder.vocab_size, None)
    for rows, embedding, head in (
        (known, "embedding", "output_embeddings"),
        (new_rows, "new_embedding", "new_output_embeddings"),
    ):
        name = f"model.transformer.wte.{embedding}"
        table[name] = ParameterSlice("decoder.embedding.weight", (rows,))
        table[f"lm_head.{head}"] = ParameterSlice("decoder.head.weight", (rows,))
    start = "model.point_predictor."
    table[start + "x_norm.weight"] = ParameterSlice("points.norm.weight")
    table[start + "add_no_point_class_embed.vector"] = ParameterSlice("points.no_more_key")
    for theirs, ours in _POINT_HEADS.items():
        for kind in ("weight", "bias"):
            table[f"model.{theirs}.{kind}"] = ParameterSlice(f"points.{ours}.{kind}")
    return table


_PARTS = {
    "vision_backbone.image_vit.transformer.resblocks.": "vision_tower.layers.",
    "vision_backbone.image_vit.": "vision_tower.",
    "vision_backbone.": "multi_modal_projector.",
    "transformer.blocks.": "language_model.layers.",
    "transformer.ln_f.": "language_model.norm.",
    "image_projector.w1.": "image_projector.gate_proj.",
    "image_projector.w2.": "image_projector.down_proj.",
    "image_projector.w3.": "image_projector.up_proj.",
    "feed_forward.w1.": "mlp.fc1.",
    "feed_forward.w2.": "mlp.fc2.",
    "attention_norm.": "layer_norm1.",
    "ffn_norm.": "layer_norm2.",
    "attn_norm.": "input_layernorm.",
    "ff_norm.": "post_attention_layernorm.",
    "attention.w": "self_attn.w",
    "attn_out.": "o_proj.",
    "ff_out.": "down_proj.",
    "wq.": "q_proj.",
    "wk.": "k_proj.",
    "wv.": "v_proj.",
    "wo.": "o_proj.",
}
"""Parts of names: the hub's, and those of transformers 5; tried in this order."""


def _renamed(config: MolmoConfig, hub: dict[str, ParameterSlice]) -> dict[str, ParameterSlice]:
    """Return the table of transformers 5: the hub's with other names, q, k, v and the halves of the feed-forward layer apart."""
    sizes = config.decoder
    q, kv, ffn = sizes.query_width, sizes.kv_width, sizes.ffn_width
    split = {
        "self_attn.att_proj.": (
            ("self_attn.q_proj.", slice(0, q)),
            ("self_attn.k_proj.", slice(q, q + kv)),
            ("self_attn.v_proj.", slice(q + kv, None)),
        ),
        "mlp.ff_proj.": (("mlp.up_proj.", slice(0, ffn)), ("mlp.gate_proj.", slice(ffn, None))),
    }
    table: dict[str, ParameterSlice] = {}
    for key, part in hub.items():
        joined = next((name for name in split if name in key), None)
        for own_name, rows in split[joined] if joined else (("", None),):
            name = key.replace(joined, own_name) if joined else key
            for old, new in _PARTS.items():
                name = name.replace(old, new)
            table[name] = part if rows is None else ParameterSlice(part.parameter, (rows,))
    for key in ("embedding", "new_embedding"):
        del table[f"model.transformer.wte.{key}"]
    table["model.language_model.embed_tokens.weight"] = ParameterSlice("decoder.embedding.weight")
    return table
