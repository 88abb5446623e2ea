"""Single layers against the reference: detects a wrong epsilon, order or factor that whole models hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from molmo_point.checkpoints.config import DecoderConfig, MolmoConfig
from molmo_point.model.connector import Connector
from molmo_point.model.decoder import FeedForward
from molmo_point.model.layers import RMSNorm, apply_rotary, attention, rotary_table
from molmo_point.model.mixture import MixtureOfExperts
from molmo_point.model.vision import quick_gelu

GOLDEN = Path(__file__).parents[1] / "golden"


def micro(prefix: str) -> dict[str, torch.Tensor]:
    arrays = np.load(GOLDEN / "micro.npz")
    return {
        key[len(prefix) :]: torch.tensor(arrays[key])
        for key in arrays.files
        if key.startswith(prefix)
    }


def small_decoder(**sizes: int) -> DecoderConfig:
    defaults = {"layers": 1, "heads": 1, "kv_heads": 1, "vocab_size": 1, "embedding_size": 1}
    return DecoderConfig(**{**defaults, **sizes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["theta1e4", "theta5e5", "theta1e6"])
def test_rotary_positions(name: str) -> None:
    part = micro(f"rope/{name}/")
    cos, sin = rotary_table(part["pos"][None], 128, float(name.removeprefix("theta")))
    for side in ("q", "k"):
        ours = apply_rotary(part[side][None], cos, sin)[0]
        torch.testing.assert_close(ours, part[side + "_out"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("eps", ["1e-05", "1e-06"])
def test_rms_norm(eps: str) -> None:
    part = micro(f"rms/eps{eps}/")
    norm = RMSNorm(part["x"].shape[-1], float(eps))
    norm.weight.data = part["w"]
    torch.testing.assert_close(norm(part["x"]), part["y"], atol=1e-5, rtol=0)
    half = norm.to(torch.bfloat16)(part["x"].to(torch.bfloat16)).float()
    torch.testing.assert_close(half, part["y_bf16_as_f32"], atol=1e-5, rtol=0)


def test_quick_gelu() -> None:
    part = micro("quick_gelu/")
    torch.testing.assert_close(quick_gelu(part["x"]), part["y"], atol=1e-5, rtol=0)


def test_feed_forward_takes_up_first() -> None:
    part = micro("swiglu/")
    width, half = part["x"].shape[-1], part["y"].shape[-1]
    layer = FeedForward(small_decoder(d_model=width, ffn_width=half))
    layer.up_gate.weight.data = torch.eye(width)
    layer.down.weight.data = F.pad(torch.eye(half), (0, 0, 0, width - half))
    out = layer(part["x"])[:, :half]
    torch.testing.assert_close(out, part["y"], atol=1e-5, rtol=0)


def test_projector_takes_gate_first() -> None:
    part = micro("llama_swiglu/")
    connector = Connector(MolmoConfig.from_folder(GOLDEN / "models/tiny-d"))
    half = part["y"].shape[-1]
    connector.gate_up.weight.data = torch.eye(2 * half)
    connector.down.weight.data = torch.eye(half)
    out = connector.project(torch.cat([part["w1x"], part["w3x"]], dim=-1))
    torch.testing.assert_close(out, part["y"], atol=1e-5, rtol=0)


def test_padding_marks() -> None:
    """-1 is nothing, 0 the first vector (all padding), 1 the second (partly padding, or unknown)."""
    part = micro("pad_rule/")
    config = MolmoConfig.from_folder(GOLDEN / "models/tiny-d")
    connector = Connector(config)
    width = config.vision.feature_width
    connector.pad_embed.data = torch.tensor([1.0, 2.0])[:, None].expand(2, width)
    masks = part["mask"].float()[None]
    marked = connector.mark_padding(torch.zeros(1, masks.shape[1], width), masks)
    assert (marked[0, :, 0].int() - 1).tolist() == part["which"].tolist()


def mixture() -> tuple[MixtureOfExperts, torch.Tensor, torch.Tensor]:
    part = micro("moe/")
    experts, width = part["gate.weight"].shape
    half = part["experts.0.up_proj.weight"].shape[0]
    config = small_decoder(
        d_model=width,
        ffn_width=half,
        experts=experts,
        experts_per_token=part["topk_experts"].shape[-1],
    )
    layer = MixtureOfExperts(config)
    layer.router.weight.data = part["gate.weight"]
    for index in range(experts):
        one = f"experts.{index}."
        layer.up_gate.data[index, :half] = part[one + "up_proj.weight"]
        layer.up_gate.data[index, half:] = part[one + "gate_proj.weight"]
        layer.down.data[index] = part[one + "down_proj.weight"]
    norm = RMSNorm(width, 1e-5)
    norm.weight.data = part["ff_norm.weight"]
    return layer, norm(part["x"]), part["y"].reshape(part["x"].shape)


def test_mixture_of_experts() -> None:
    layer, x, expected = mixture()
    with torch.inference_mode():
        torch.testing.assert_close(layer(x[None])[0], expected, atol=1e-5, rtol=0)


def test_mixture_handles_each_token_alone() -> None:
    layer, x, expected = mixture()
    with torch.inference_mode():
        single = torch.cat([layer(row[None, None])[0] for row in x])
    torch.testing.assert_close(single, expected, atol=1e-5, rtol=0)


def test_attention_equals_the_explicit_softmax() -> None:
    """Three new tokens behind six cached ones, three query heads to a key head; and one new token alone."""
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 6, 3, 16), torch.randn(1, 2, 9, 16), torch.randn(1, 2, 9, 16)
    wide_k, wide_v = k.repeat_interleave(3, 1), v.repeat_interleave(3, 1)
    seen = torch.arange(9)[None] <= torch.arange(6, 9)[:, None]
    scores = (q @ wide_k.transpose(-1, -2) / 4).masked_fill(~seen, -torch.inf)
    expected = (scores.softmax(-1) @ wide_v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(q, k, v, None), expected)
    torch.testing.assert_close(attention(q[:, :, -1:], k, v, None), expected[:, -1:])
