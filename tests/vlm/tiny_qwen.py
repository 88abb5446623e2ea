"""Qwen2.5-VL and Qwen3-VL of transformers with random weights and a byte tokenizer, and answers by script."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

TOKENIZER = Path(__file__).parents[1] / "golden/molmo2/models/tiny2-q/tokenizer.json"
"""Byte b has the id b; 256 <|endoftext|>, 257 <|im_start|>, 258 <|im_end|>."""

END = 258
IMAGE_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
PATCHES = {"qwen2.5": 14, "qwen3": 16}


def tokenizer() -> Any:
    """Return the byte tokenizer with Qwen's image tokens."""
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(TOKENIZER), eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    made.add_special_tokens({"additional_special_tokens": IMAGE_TOKENS})
    return made


def network(family: str) -> Any:
    """Return the network of a family; its generation config samples and penalizes, as the published ones do."""
    torch.manual_seed(5)
    start, end, image, video = tokenizer().convert_tokens_to_ids(IMAGE_TOKENS)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2}
    text = {"vocab_size": 640, "hidden_size": 32, "intermediate_size": 48, **heads, "head_dim": 16}
    text["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": 1e4,
        "mrope_section": [2, 3, 3],
    }
    vision = {"depth": 2, "num_heads": 2, "hidden_size": 32, "intermediate_size": 48}
    vision |= {"out_hidden_size": 32, "patch_size": PATCHES[family], "temporal_patch_size": 2}
    ids = {"image_token_id": image, "video_token_id": video}
    ids |= {"vision_start_token_id": start, "vision_end_token_id": end}
    if family == "qwen2.5":
        vision |= {"fullatt_block_indexes": [1], "window_size": 56}
        config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
        made = transformers.Qwen2_5_VLForConditionalGeneration(config)
    else:
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
        config = transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **ids)
        made = transformers.Qwen3VLForConditionalGeneration(config)
    made.generation_config = transformers.GenerationConfig(
        do_sample=True, temperature=0.7, top_k=3, repetition_penalty=1.5, eos_token_id=[END, 256]
    )
    # Random heads are nearly even; distinct maxima make greedy tokens stable.
    with torch.no_grad():
        made.lm_head.weight.mul_(8)
    return made.eval()


class PilProcessor:
    """transformers' own image processor without torchvision, and the chat of Qwen-VL around it."""

    chat_template = "of Qwen-VL"

    def __init__(self, family: str) -> None:
        self.tokenizer = tokenizer()
        self.image_processor = Qwen2VLImageProcessorPil(patch_size=PATCHES[family])

    def apply_chat_template(self, messages: list[dict[str, Any]], **_: Any) -> Any:
        """Return the inputs of one message with an image and a text."""
        image, text = messages[0]["content"]
        seen = self.image_processor(images=[image["image"]], return_tensors="pt")
        count = int(seen["image_grid_thw"].prod()) // self.image_processor.merge_size**2
        start, end, pad, _ = IMAGE_TOKENS
        chat = f"<|im_start|>user\n{start}{pad * count}{end}{text['text']}<|im_end|>\n<|im_start|>assistant\n"
        inputs = self.tokenizer(chat, return_tensors="pt", return_token_type_ids=False)
        is_image = inputs["input_ids"] == self.tokenizer.convert_tokens_to_ids(pad)
        return transformers.BatchFeature({**inputs, **seen, "mm_token_type_ids": is_image.int()})


class Script:
    """Makes a network write a text: its logits of each new token are replaced.

    Args:
        text: What is written; the end token follows.
        probabilities: Of single bytes of it by position; 0.5 for the others.
    """

    def __init__(self, text: str, probabilities: dict[int, float] | None = None) -> None:
        self._tokens = [*text.encode(), END]
        self._probabilities = probabilities or {}
        self._step = 0

    def __call__(self, module: Any, arguments: Any, output: Any) -> Any:
        """Replace the logits; a forward hook."""
        logits = output.logits
        index = min(self._step, len(self._tokens) - 1)
        share = self._probabilities.get(index, 0.5)
        rest = math.log((1 - share) / (logits.shape[-1] - 1))
        # Logits have no fixed level: probabilities come by normalizing.
        level = 3.0 + index % 2
        logits[:, -1, :] = level + rest
        logits[:, -1, self._tokens[index]] = level + math.log(share)
        self._step += 1
        return output
