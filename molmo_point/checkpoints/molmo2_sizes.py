"""Sizes of the released Molmo 2 models (molmo2.md 1)."""

from __future__ import annotations

from dataclasses import replace

from molmo_point.checkpoints.config import (
    DecoderConfig,
    MolmoConfig,
    PointHeadConfig,
    PreprocessConfig,
    VisionConfig,
    Yarn,
)

_HALF = (0.5, 0.5, 0.5)
_TOWER = VisionConfig(
    kind="siglip2",
    width=1152,
    layers=25,
    heads=16,
    head_dim=72,
    mlp_width=4304,
    image_size=(378, 378),
    norm_eps=1e-6,
    feature_layers=(24, 18),
)
_IMAGES = PreprocessConfig(crop_size=378, max_crops=8, mean=_HALF, std=_HALF, stretched=True)


def _whole(decoder: DecoderConfig) -> MolmoConfig:
    return MolmoConfig(decoder, decoder.ffn_width, _TOWER, _IMAGES)


def _qwen3(d_model: int, ffn: int, theta: float) -> MolmoConfig:
    return _whole(
        DecoderConfig(
            d_model=d_model,
            layers=36,
            heads=32,
            kv_heads=8,
            head_width=128,
            ffn_width=ffn,
            vocab_size=151936,
            embedding_size=151936,
            qk_norm=True,
            norm_heads=True,
            rope_theta=theta,
            max_positions=36864,
            image_block=True,
        )
    )


MOLMO2_4B = _qwen3(2560, 9728, 5_000_000.0)
MOLMO2_8B = _qwen3(4096, 12288, 1_000_000.0)
MOLMO2_O_7B = _whole(
    DecoderConfig(
        d_model=4096,
        layers=32,
        heads=32,
        kv_heads=32,
        head_width=128,
        ffn_width=11008,
        vocab_size=100278,
        embedding_size=100278,
        norm_after=True,
        qk_norm=True,
        rope_theta=500_000.0,
        yarn=Yarn(factor=8.0, original_positions=8192, attention_factor=1.2079441541679836),
        yarn_layers=tuple(range(3, 32, 4)),
        max_positions=65536,
        image_block=True,
    )
)

MOLMO_POINT_8B = replace(
    MOLMO2_8B,
    decoder=replace(
        MOLMO2_8B.decoder,
        embedding_size=151936 + 128,
        new_embedding_size=0,
        norm_in_head=True,
    ),
    preprocess=replace(_IMAGES, low_token=True),
    points=PointHeadConfig(key_width=512),
)
