"""`MolmoForConditionalGeneration`: the network behind transformers' interface: `generate`, `save_pretrained`, `peft`, `Trainer`.

The network is `molmo_point.model.Molmo`. Inputs have the names that the published processor gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from molmo_point.errors import UsageError
from molmo_point.hf.configuration import MolmoHFConfig
from molmo_point.hf.conversions import conversions
from molmo_point.model.molmo import Molmo

_CACHE = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"
"""Name of the keys and values in this version of transformers."""


@dataclass
class MolmoOutput(CausalLMOutputWithPast):  # type: ignore[misc]
    """Logits, and while training the last hidden states.

    Attributes:
        last_hidden_state: [B, T, d] that the head makes logits of; trl's losses apply the head themselves. None outside training.
    """

    last_hidden_state: Tensor | None = None


class _CacheAdapter:
    """A transformers cache as the cache of `molmo_point.model.decoder`."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """As `molmo_point.model.decoder.Cache.append`."""
        keys, values = self._cache.update(k, v, layer)
        return keys, values


class MolmoForConditionalGeneration(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """MolmoE-1B, Molmo-7B-O, Molmo-7B-D or Molmo-72B."""

    config_class = MolmoHFConfig
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    _no_split_modules = ("DecoderBlock", "VisionBlock")
    _supports_sdpa = True
    _keys_to_ignore_on_load_missing = ()
    _tied_weights_keys = None

    def __init__(self, config: MolmoHFConfig) -> None:
        super().__init__(config)
        sizes = config.sizes()
        self.network = Molmo(sizes, all_blocks=True)
        # For a model that is saved without having been loaded; loading keeps those that it used.
        self._weight_conversions = conversions(sizes)
        self.post_init()

    def get_input_embeddings(self) -> torch.nn.Module:
        """Return the embedding table: the vocabulary's rows, then those of the image tokens."""
        return self.network.decoder.embedding

    def get_output_embeddings(self) -> torch.nn.Module:
        """Return the output head, which has the vocabulary's rows only."""
        return self.network.decoder.head

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Initialise a new layer; loaded ones are never touched."""
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, torch.nn.Linear) and module.bias is not None:
            torch.nn.init.zeros_(module.bias)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        inputs_embeds: Tensor | None = None,
        images: Tensor | None = None,
        image_masks: Tensor | None = None,
        image_input_idx: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool = True,
        logits_to_keep: int | Tensor = 0,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> MolmoOutput:
        """Return logits, and the loss where there are labels.

        Args:
            input_ids: [B, T] token ids, those of the images included. Padding (on the left) has `attention_mask` 0.
            images: [B, n, patches, pixels of a patch] float32 normalised; image_masks: [B, n, patches] as the processor gives
                them; image_input_idx: [B, n, tokens], position of each in its row of `input_ids`, negative = unused.
            labels: [B, T] token ids, -100 = no loss; shifted here.
            cache: Keys and values of earlier tokens; older versions of transformers call it `past_key_values`.
            logits_to_keep: Number of last positions that get logits; 0 = all.

        Raises:
            UsageError: Both or none of `input_ids` and `inputs_embeds`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise UsageError("expected one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self._embeddings(input_ids, images, image_masks, image_input_idx)
        cache = past_key_values if cache is None else cache
        if use_cache is not False and cache is None:
            cache = DynamicCache()
        start = 0 if cache is None else cache.get_seq_length()
        length = inputs_embeds.shape[1]
        if position_ids is None:
            position_ids = _positions(attention_mask, start, length, inputs_embeds.device)
        hidden = self.network.decoder(
            inputs_embeds,
            position_ids,
            mask=_mask(attention_mask, start, length),
            cache=None if cache is None else _CacheAdapter(cache),
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.network.decoder.logits(hidden[:, kept, :])
        loss = None
        if labels is not None:
            rows = self.network.decoder.config.embedding_size
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=rows, **kwargs)
        decoder = self.network.decoder
        normed = decoder.norm(hidden) if decoder.config.norm_in_head else hidden
        last = normed if self.training else None
        return MolmoOutput(loss=loss, logits=logits, last_hidden_state=last, **{_CACHE: cache})

    def _embeddings(
        self,
        input_ids: Tensor | None,
        images: Tensor | None,
        image_masks: Tensor | None,
        image_input_idx: Tensor | None,
    ) -> Tensor:
        assert input_ids is not None
        if images is None or image_input_idx is None or image_masks is None:
            return self.network.embed(input_ids)
        # Crops that only fill up a batch have no token.
        used = (image_input_idx >= 0).flatten(2).any(-1)
        encoded = self.network.encode_images(images[used], image_masks[used])
        features = encoded.new_zeros((*used.shape, *encoded.shape[1:]))
        features[used] = encoded
        return self.network.embed(input_ids, features, image_input_idx)

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Images are read, and padding is looked for on the device, in the first pass; the cache holds both for later ones."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(*args, **kwargs)
        cache, tokens = inputs.get(_CACHE), inputs.get("input_ids")
        if cache is None:
            return inputs
        if cache.get_seq_length() > 0:
            for name in ("images", "image_masks", "image_input_idx"):
                inputs.pop(name, None)
        mask = inputs.get("attention_mask")
        if tokens is None or tokens.shape[1] > 1:
            cache.molmo_padded = mask is not None and not bool(mask.all())
        if not getattr(cache, "molmo_padded", True):
            inputs["attention_mask"] = None
        return inputs

    def generate_from_batch(
        self, batch: dict[str, Tensor], generation_config: Any = None, **kwargs: Any
    ) -> Tensor:
        """Generate, as the published code names it; returns the ids of the input and the answer."""
        tokens: Tensor = self.generate(**batch, generation_config=generation_config, **kwargs)
        return tokens


def _positions(
    attention_mask: Tensor | None, start: int, length: int, device: torch.device
) -> Tensor:
    """Return the positions of the new tokens, [B or 1, T]; padding has none of its own and takes 0."""
    if attention_mask is None:
        return torch.arange(start, start + length, device=device)[None]
    counted = attention_mask.long().cumsum(-1) - 1
    return counted.clamp_min(0)[:, -length:]


def _mask(attention_mask: Tensor | None, start: int, length: int) -> Tensor | None:
    """Return [B, 1, T, S] bool for rows with padding; None where causal attention alone is meant.

    Padded queries see themselves, so that no row of the attention is empty.
    """
    if attention_mask is None or bool(attention_mask.all()):
        return None
    keys = torch.arange(start + length, device=attention_mask.device)
    queries = keys[start:, None]
    seen = (keys <= queries) & attention_mask[:, None, None, :].bool()
    return seen | (keys == queries)
