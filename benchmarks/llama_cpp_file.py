"""Write a GGUF file of OLMoE's or Qwen2's shape, which needs gguf and no torch: `llama_cpp_side` calls it.

    python llama_cpp_file.py FILE.gguf Q8_0|Q4_0 '{"d_model": 2048, ...}'

The decoder's matrices are zeros and take no room on the disk (holes). The embedding and a mixture's routers are random, so that
tokens differ and go to different experts. The output head is Q8_0, or Q6_K in a Q4_0 file, as llama.cpp's own tool makes them.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

Sizes = dict[str, Any]
Shapes = list[tuple[str, tuple[int, ...], str]]
"""Name, shape and type of each tensor."""


def main() -> None:
    """Write the file."""
    target, kind, sizes = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    import gguf

    writer: Any = gguf.GGUFWriter(target, "olmoe" if sizes["experts"] else "qwen2")
    describe(writer, sizes)
    placed = []
    for name, shape, type_name in tensors(sizes, kind):
        quant = gguf.GGMLQuantizationType[type_name]
        block, size = gguf.GGML_QUANT_SIZES[quant]
        full = type_name == "F32"
        stored = shape if full else (*shape[:-1], shape[-1] // block * size)
        count = math.prod(shape) // block * size
        number = np.dtype(np.float32 if full else np.uint8)
        writer.add_tensor_info(name, stored, number, count, raw_dtype=quant)
        placed.append((name, shape, full, count))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    fill(target, placed)


def describe(writer: Any, sizes: Sizes) -> None:
    """Write the sizes, and a vocabulary of made-up words."""
    writer.add_context_length(sizes["max_positions"])
    writer.add_embedding_length(sizes["d_model"])
    writer.add_block_count(sizes["layers"])
    writer.add_feed_forward_length(sizes["ffn_width"])
    writer.add_head_count(sizes["heads"])
    writer.add_head_count_kv(sizes["kv_heads"])
    writer.add_rope_freq_base(sizes["rope_theta"])
    writer.add_layer_norm_rms_eps(sizes["norm_eps"])
    if sizes["experts"]:
        writer.add_expert_count(sizes["experts"])
        writer.add_expert_used_count(sizes["experts_per_token"])
    rows = sizes["embedding_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"w{index}" for index in range(rows)])
    writer.add_token_types([1] * rows)
    writer.add_token_merges(["w 1"])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    writer.add_add_bos_token(False)


def tensors(sizes: Sizes, kind: str) -> Shapes:
    """Return all tensors in the order of the file."""
    d, f, e, rows = (sizes[key] for key in ("d_model", "ffn_width", "experts", "embedding_size"))
    kv = d // sizes["heads"] * sizes["kv_heads"]
    found: Shapes = [
        ("token_embd.weight", (rows, d), "Q8_0"),
        ("output_norm.weight", (d,), "F32"),
        ("output.weight", (rows, d), "Q8_0" if kind == "Q8_0" else "Q6_K"),
    ]
    for layer in range(sizes["layers"]):
        parts: Shapes = [
            ("attn_norm.weight", (d,), "F32"),
            ("ffn_norm.weight", (d,), "F32"),
            ("attn_q.weight", (d, d), kind),
            ("attn_k.weight", (kv, d), kind),
            ("attn_v.weight", (kv, d), kind),
            ("attn_output.weight", (d, d), kind),
        ]
        if e:
            parts += [
                ("attn_q_norm.weight", (d,), "F32"),
                ("attn_k_norm.weight", (kv,), "F32"),
                ("ffn_gate_inp.weight", (e, d), "F32"),
                ("ffn_gate_exps.weight", (e, f, d), kind),
                ("ffn_up_exps.weight", (e, f, d), kind),
                ("ffn_down_exps.weight", (e, d, f), kind),
            ]
        else:
            parts += [
                ("attn_q.bias", (d,), "F32"),
                ("attn_k.bias", (kv,), "F32"),
                ("attn_v.bias", (kv,), "F32"),
                ("ffn_gate.weight", (f, d), kind),
                ("ffn_up.weight", (f, d), kind),
                ("ffn_down.weight", (d, f), kind),
            ]
        found += [(f"blk.{layer}.{name}", shape, type_name) for name, shape, type_name in parts]
    return found


def fill(target: Path, placed: list[tuple[str, tuple[int, ...], bool, int]]) -> None:
    """Write the tensors that are not zeros to their places, and make the file as long as all of them."""
    random = np.random.default_rng(0)
    with target.open("r+b") as file:
        start = _aligned(file.seek(0, 2))
        for name, shape, full, count in placed:
            file.seek(start)
            if full:
                router = "ffn_gate_inp" in name
                values = random.normal(size=shape) if router else np.ones(shape)
                file.write(values.astype(np.float32).tobytes())
            elif name == "token_embd.weight":
                # Blocks of Q8_0: a scale of 16 bits, then 32 numbers.
                block = random.integers(0, 255, (4096, 34), dtype=np.uint8)
                block[:, :2] = np.frombuffer(np.float16(0.001).tobytes(), np.uint8)
                file.write((block.tobytes() * (count // block.size + 1))[:count])
            start = _aligned(start + count)
        file.truncate(start)


def _aligned(place: int) -> int:
    return -(-place // 32) * 32


if __name__ == "__main__":
    main()
