"""All keys that a checkpoint's JSON files may hold.

A key is read (`config_files`), or has values that the network supports (`only`: any other value is refused), or does not change
answers (`ignored`). Any other key is refused: ignoring it could give wrong points without an error. `null` = not set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class KeyTable:
    """The keys of one file that are not read.

    Attributes:
        only: {key: the supported values, the usual one first}.
        ignored: Keys that do not change answers.
    """

    only: Values
    ignored: frozenset[str]

    def select(
        self, content: Mapping[str, Any], read: Iterable[str], prefix: str = ""
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the keys that are read, and the problems of the others.

        Args:
            read: Names of the keys that are read.
            prefix: Prefix of the keys in the problems.

        Returns:
            The keys that are read, and a list of problems, each with its key and value.
        """
        known = set(read)
        taken: dict[str, Any] = {}
        problems: list[str] = []
        for key, value in content.items():
            if key in known:
                taken[key] = value
            elif key in self.only:
                if not _is_one_of(value, (*self.only[key], None)):
                    problems.append(f"{prefix}{key} = {value!r} (expected {self.only[key][0]!r})")
            elif key not in self.ignored and value is not None:
                problems.append(f"{prefix}{key} = {value!r} (unknown key)")
        return taken, problems


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _is_one_of(value: object, values: Iterable[object]) -> bool:
    """Return whether the value is one of `values`; 1 does not equal True."""
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in values
    )


_LIBRARY = names(
    """
    _attn_implementation _attn_implementation_autoset _attn_implementation_internal _commit_hash _flash_attn_2_enabled
    _from_model_config _name_or_path architectures attn_implementation auto_map base_model chunk_size_feed_forward dtype
    finetuning_task gradient_checkpointing id2label initializer_range is_decoder keys_to_ignore_at_inference label2id
    library_name license name_or_path num_labels output_attentions output_hidden_states problem_type return_dict
    task_specific_params tf_legacy_loss tokenizer_class torch_dtype torchscript transformers_version unsloth_fixed
    unsloth_version use_bfloat16 use_cache
    """
)
"""Bookkeeping of transformers and of training tools: names, versions, output options, types (the weight files have their own)."""

_SAMPLING = names(
    """
    assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight assistant_lookbehind cache_config
    cache_implementation compile_config continuous_batching_config disable_compile diversity_penalty do_sample early_stopping
    epsilon_cutoff eta_cutoff is_assistant length_penalty low_memory max_cache_len max_length max_matching_ngram_size
    max_new_tokens max_time min_p num_assistant_tokens num_assistant_tokens_schedule num_beam_groups num_beams
    num_return_sequences output_logits output_scores prefill_chunk_size prompt_lookup_num_tokens remove_invalid_values
    renormalize_logits return_dict_in_generate return_legacy_cache speculation_type target_lookbehind temperature top_h top_k
    top_p typical_p use_mtp
    """
)
"""Sampling, beams, limits, caches and speculation of transformers. Answers here are always greedy, with limits of their own."""

_TRAINING = names(
    """
    attention_dropout embedding_dropout residual_dropout response_attention_dropout response_residual_dropout
    image_feature_dropout do_random_scale init_cutoff_factor init_device init_fn init_std new_embedding_init_range
    llm_load_path vit_load_path loss_token_weighting low_cpu_fsdp gin_bindings moe_capacity_factor moe_lbl_in_fp32
    moe_log_expert_assignment moe_loss_weight moe_zloss_weight precision default_inference_len pad_to pad_token_id
    pad_tokenizer sep_token_id bos_token_id decoder_start_token_id
    """
)
"""Used in training, or where texts are padded to one length."""

_IMPLEMENTATION = names(
    """
    alibi_bias_max attention_type block_group_size float32_attention max_window_layers moe_mlp_impl
    query_pre_attn_scalar rope_full_precision use_position_ids
    """
)
"""Choices of implementation, or parameters of features that `only` refuses (ALiBi, windows, soft caps)."""

_NO_IDS: tuple[Any, ...] = (None, [])

GENERATION_RULES: Values = {
    "bad_words_ids": _NO_IDS,
    "begin_suppress_tokens": _NO_IDS,
    "constraints": _NO_IDS,
    "dola_layers": (None,),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1.0,),
    "exponential_decay_length_penalty": (None,),
    "force_words_ids": _NO_IDS,
    "forced_bos_token_id": (None,),
    "forced_decoder_ids": _NO_IDS,
    "forced_eos_token_id": (None,),
    "guidance_scale": (1.0,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "no_repeat_ngram_size": (0,),
    "penalty_alpha": (None, 0.0),
    "repetition_penalty": (1.0,),
    "sequence_bias": (None, [], {}),
    "stop_strings": (None, [], "<|endoftext|>", ["<|endoftext|>"]),
    "suppress_tokens": _NO_IDS,
    "token_healing": (False,),
    "watermarking_config": (None,),
}
"""Rules that change greedy answers, with the values at which they change nothing."""

QUANTIZATION = names("quantization_config")
"""At the top of config.json: low-bit weights of our own format (`low_bit_format`); others are refused before keys are checked."""

IGNORED_ANYWHERE = _LIBRARY | _SAMPLING | _TRAINING
"""Without influence wherever they stand in config.json."""

GENERATION = KeyTable(only=GENERATION_RULES, ignored=IGNORED_ANYWHERE)
"""generation_config.json."""

NETWORK = KeyTable(
    only={
        "activation_type": ("swiglu",),
        "add_cross_attention": (False,),
        "alibi": (False,),
        "always_start_with_space": (True,),
        "attention_layer_norm_with_affine": (True,),
        "attn_logit_softcapping": (None,),
        "bias_for_layer_norm": (False,),
        "block_type": ("sequential", "moe"),
        "clip_qkv": (None,),
        "cross_attention_hidden_size": (None,),
        "crop_mode": ("overlap-and-resize-c2",),
        "final_logit_softcapping": (None,),
        "fix_image_input_idx": (2,),
        "hidden_act": ("silu", "swiglu"),
        "image_padding_embed": ("pad_and_partial_pad",),
        "image_pooling_2d": ("attention-meanq",),
        "image_projector": ("mlp",),
        "include_bias": (False,),
        "is_encoder_decoder": (False,),
        "layer_norm_type": ("rms",),
        "layer_norm_with_affine": (True,),
        "message_formatting": ("role",),
        "mlp_bias": (False,),
        "moe_dropless": (True,),
        "moe_interleave": (False,),
        "moe_shared_expert": (False,),
        "multi_query_attention": (False,),
        "normalize_input_embeds": (False,),
        "partial_rotary_factor": (1.0,),
        "prompt_override": (None,),
        "prompt_type": ("uber_model",),
        "pruned_heads": ({},),
        "rope": (True,),
        "rope_impl": ("llama",),
        "scale_logits": (False,),
        "sliding_window": (False,),
        "system_prompt_kind": ("demo_or_style",),
        "tie_encoder_decoder": (False,),
        "tie_word_embeddings": (False,),
        "unconditioned": (False,),
        "use_cls_feature": (False,),
        "use_col_tokens": (True,),
        "use_sliding_window": (False,),
        "weight_tying": (False,),
        **GENERATION_RULES,
    },
    ignored=IGNORED_ANYWHERE | _IMPLEMENTATION | QUANTIZATION,
)
"""config.json in both naming schemes."""

ROPE = KeyTable(only={"partial_rotary_factor": (1.0,)}, ignored=frozenset())
"""`rope_parameters` and `rope_scaling`."""

VISION = KeyTable(
    only={
        "image_mlp_activations": ("quick_gelu",),
        "image_model_type": ("openai",),
        "resize_mode": ("default",),
    },
    ignored=names(
        "attention_dropout fsdp_wrap image_dropout_rate initializer_range residual_dropout"
    ),
)
"""`vision_backbone` of config.json."""

IMAGES = KeyTable(
    only={
        "do_convert_rgb": (True,),
        "do_normalize": (True,),
        "do_rescale": (True,),
        "do_resize": (True,),
        "image_padding_mask": (True,),
    },
    ignored=names(
        """
    _processor_class auto_map feature_extractor_type image_processor_type processor_class transformers_version
    """
    ),
)
"""preprocessor_config.json, and `image_processor` of processor_config.json."""

PROCESSOR = KeyTable(
    only={
        "always_start_with_space": (True,),
        "message_format": ("role",),
        "system_prompt": ("none", "demo_or_style"),
    },
    ignored=names(
        "_processor_class auto_map chat_template processor_class tokenizer transformers_version"
    ),
)
"""processor_config.json."""
