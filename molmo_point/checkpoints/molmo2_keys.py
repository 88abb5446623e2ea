"""Every key that the JSON files of a Molmo 2 checkpoint may hold and that is not read; see `config_keys`."""

from __future__ import annotations

from molmo_point.checkpoints.config_keys import (
    GENERATION_RULES,
    IGNORED_ANYWHERE,
    QUANTIZATION,
    KeyTable,
    names,
)

_ATTENTION = names(
    "attn_implementation float32_attention attention_dropout residual_dropout image_feature_dropout embedding_dropout"
)

NETWORK = KeyTable(
    only={"is_encoder_decoder": (False,), "tie_word_embeddings": (False,), **GENERATION_RULES},
    ignored=IGNORED_ANYWHERE
    | QUANTIZATION
    | names(
        """
    frame_end_token_id frame_start_token_id image_col_id image_end_token_id image_high_res_id image_low_res_id image_patch_id
    image_start_token_id image_token_id low_res_image_start_token_id use_frame_special_tokens video_token_id
    """
    ),
)
"""config.json. Ids of tokens are the tokenizer's to say; flags of video frames have no influence on images."""

POINT_NETWORK = KeyTable(
    only={
        **NETWORK.only,
        "embed_location": (False,),
        "embed_selected_vit_patch": ("linear",),
        "layer_norm_x": (True,),
        "mask_patches": ("always",),
        "mask_repeats": ("inference",),
        "mask_subpatches": ("inference",),
        "norm_logits": (True,),
    },
    ignored=NETWORK.ignored
    | names("image_non_indexable_patch_id location_token_id patch_token_id subpatch_token_id"),
)
"""config.json of MolmoPoint."""

TEXT = KeyTable(
    only={
        "attention_bias": (False,),
        "hidden_act": ("silu",),
        "qkv_bias": (False,),
        "tie_word_embeddings": (False,),
        "use_qk_norm": (True,),
        "sliding_window": (None,),
        "use_sliding_window": (False,),
        **GENERATION_RULES,
    },
    ignored=IGNORED_ANYWHERE | _ATTENTION | names("model_type"),
)
"""`text_config`."""

VISION = KeyTable(
    only={
        "attention_bias": (True,),
        "hidden_act": ("gelu_pytorch_tanh",),
        "num_channels": (3,),
    },
    ignored=IGNORED_ANYWHERE | _ATTENTION | names("model_type"),
)
"""`vit_config` or `vision_config`."""


def adapter(model_type: str) -> KeyTable:
    """Return the keys of `adapter_config`. MolmoPoint's pooling ends without an output layer."""
    return KeyTable(
        only={
            "attention_bias": (True,),
            "attention_pooling_out_layer": (model_type != "molmo_point",),
            "hidden_act": ("silu",),
            "mlp_bias": (False,),
            "pooling_attention_mask": (True,),
            "positional_embeddings": (None,),
        },
        ignored=IGNORED_ANYWHERE | _ATTENTION | names("model_type"),
    )


ROPE = KeyTable(only={"partial_rotary_factor": (1.0,), "truncate": (True,)}, ignored=frozenset())
"""`rope_parameters` and `rope_scaling`."""

IMAGES = KeyTable(
    only={
        "do_convert_rgb": (True,),
        "do_normalize": (True,),
        "do_rescale": (True,),
        "do_resize": (True,),
        "resample": (2,),
    },
    ignored=names(
        """
    _processor_class auto_map data_format device disable_grouping image_processor_type processor_class return_tensors
    transformers_version
    """
    ),
)
"""preprocessor_config.json, and `image_processor` of processor_config.json."""


def processor(model_type: str) -> KeyTable:
    """Return the keys of processor_config.json; MolmoPoint has a token of its own in low-resolution views."""
    return KeyTable(
        only={
            "image_use_col_tokens": (True,),
            "use_low_res_token_for_global_crops": (model_type == "molmo_point",),
            "use_single_crop_col_tokens": (False,),
            "use_single_crop_start_token": (True,),
        },
        ignored=names(
            """
        _processor_class auto_map chat_template processor_class time_mode tokenizer transformers_version
        use_frame_special_tokens video_processor video_use_col_tokens
        """
        ),
    )
