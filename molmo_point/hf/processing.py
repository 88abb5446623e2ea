"""`MolmoProcessor`: images and prompts to the model's inputs, with the preprocessing of `molmo_point.preprocess`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BaseImageProcessor, BatchFeature, ProcessorMixin

from molmo_point.checkpoints.config import PreprocessConfig, preprocess_config
from molmo_point.errors import UsageError
from molmo_point.hf.configuration import PUBLISHED_IMAGES
from molmo_point.images import load_image
from molmo_point.preprocess.crops import crop_image
from molmo_point.preprocess.inputs import image_prefix, text_prefix
from molmo_point.preprocess.prompt import format_prompt
from molmo_point.preprocess.tokenizer import (
    END_OF_TEXT,
    IMAGE_COLUMN,
    IMAGE_END,
    IMAGE_PATCH,
    IMAGE_START,
    SpecialIds,
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['content'] is string %}{% set text = message['content'] %}"
    "{% else %}{% set text = message['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join(' ') %}"
    "{% endif %}"
    "{{ ' ' + ('User' if message['role'] == 'user' else 'Assistant') + ': ' + text }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ ' Assistant:' }}{% endif %}"
)
"""Turns in the words of the models' training; images stand before the text, whatever their place in the message."""

_UNUSED = -1
"""Fills masks and positions of crops that only make the images of a batch equal in number."""


class MolmoImageProcessor(BaseImageProcessor):  # type: ignore[misc]
    """Holds preprocessor_config.json. Images are cut by `MolmoProcessor`, which knows the tokens beside the crops."""

    model_input_names = ("images", "image_masks", "image_input_idx")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in PUBLISHED_IMAGES.items():
            setattr(self, name, kwargs.get(name, value))

    def sizes(self) -> PreprocessConfig:
        """Return how images are cut.

        Raises:
            CheckpointError: Keys that contradict each other.
        """
        return preprocess_config({name: getattr(self, name) for name in PUBLISHED_IMAGES})


class MolmoProcessor(ProcessorMixin):  # type: ignore[misc]
    """Makes the inputs of `MolmoForConditionalGeneration`.

    Args:
        image_processor: How images are cut.
        tokenizer: The checkpoint's; must have Molmo's image tokens.
        chat_template: For `apply_chat_template`; None for the words of the models' training.

    Raises:
        UsageError: The tokenizer lacks Molmo's tokens.
    """

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)
        self._special = _special_ids(tokenizer)

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        return_tensors: str | None = "pt",
        **_: Any,
    ) -> BatchFeature:
        """Return the inputs of one prompt or of a batch, padded on the left.

        Args:
            images: One image for each text (paths, bytes, PIL images, arrays), or None for text alone; a list of one-image lists
                does, too.
            text: Prompts, either bare ("Point to the mug") or as the chat template writes them (" User: ... Assistant:").
            return_tensors: "pt".

        Returns:
            input_ids, attention_mask [B, T]; with images: images [B, n, patches, pixels], image_masks [B, n, patches],
            image_input_idx [B, n, tokens].

        Raises:
            UsageError: No text, another number of images than of texts, or other tensors.
            ImageError: An image that cannot be read.
        """
        if return_tensors not in (None, "pt"):
            raise UsageError(f"expected return_tensors='pt', got {return_tensors!r}")
        texts = [text] if isinstance(text, str) else list(text or ())
        if not texts:
            raise UsageError("expected text: a prompt, or a list of them")
        each = _one_each(images, len(texts))
        rows = [self._row(image, prompt) for image, prompt in zip(each, texts, strict=True)]
        return BatchFeature(_padded(rows, self._special.end))

    def process(self, images: Any = None, text: str = "", **_: Any) -> dict[str, Tensor]:
        """Return the inputs of one prompt without a batch axis, as the published processor's method of this name."""
        (image,) = _one_each(images, 1)
        return self._row(image, text)

    def _row(self, image: Any, text: str) -> dict[str, Tensor]:
        """Return the inputs of one prompt."""
        prompt = text if text.startswith(" User:") else format_prompt(text)
        words = self.tokenizer(
            prompt, add_special_tokens=False, split_special_tokens=True
        ).input_ids
        if image is None:
            ids = np.concatenate([text_prefix(self._special).input_ids, words])
            return {"input_ids": torch.from_numpy(ids).long()}
        sizes = self.image_processor.sizes()
        crops = crop_image(load_image(image), sizes)
        prefix = image_prefix(crops, sizes, self._special)
        ids = np.concatenate([prefix.input_ids, words])
        return {
            "input_ids": torch.from_numpy(ids).long(),
            "images": torch.from_numpy(crops.crops),
            "image_masks": torch.from_numpy(crops.masks),
            "image_input_idx": torch.from_numpy(prefix.image_input_idx).long(),
        }

    @property
    def model_input_names(self) -> list[str]:
        """Names of the model's inputs."""
        return ["input_ids", "attention_mask", "images", "image_masks", "image_input_idx"]


def _special_ids(tokenizer: Any) -> SpecialIds:
    """Return the ids of Molmo's tokens.

    Raises:
        UsageError: The tokenizer has none of a name.
    """
    vocabulary = tokenizer.get_vocab()
    names = (END_OF_TEXT, IMAGE_START, IMAGE_END, IMAGE_PATCH, IMAGE_COLUMN)
    missing = [name for name in names if name not in vocabulary]
    if missing:
        raise UsageError(
            f"expected the tokenizer of a Molmo checkpoint, got one without {', '.join(missing)}"
        )
    end, start, stop, patch, column = (vocabulary[name] for name in names)
    return SpecialIds(end, end, start, stop, patch, column, start)


def _one_each(images: Any, prompts: int) -> list[Any]:
    """Return one image or None for each prompt.

    Raises:
        UsageError: Another number of images.
    """
    if images is None or (isinstance(images, (list, tuple)) and not images):
        return [None] * prompts
    listed = list(images) if isinstance(images, (list, tuple)) else [images]
    flat = [
        each
        for entry in listed
        for each in (entry if isinstance(entry, (list, tuple)) else [entry])
    ]
    if len(flat) != prompts:
        raise UsageError(
            f"expected one image for each of {prompts} prompts, got {len(flat)} images"
        )
    return flat


def _padded(rows: Sequence[Mapping[str, Tensor]], pad: int) -> dict[str, Tensor]:
    """Return the rows as one batch: tokens padded on the left, crops behind."""
    length = max(len(row["input_ids"]) for row in rows)
    crops = max(len(row["images"]) if "images" in row else 0 for row in rows)
    ids = torch.full((len(rows), length), pad)
    mask = torch.zeros_like(ids)
    batch = {"input_ids": ids, "attention_mask": mask}
    for name in ("images", "image_masks", "image_input_idx") if crops else ():
        like = next(row[name] for row in rows if name in row)
        batch[name] = like.new_full((len(rows), crops, *like.shape[1:]), _UNUSED)
    for index, row in enumerate(rows):
        before = length - len(row["input_ids"])
        ids[index, before:] = row["input_ids"]
        mask[index, before:] = 1
        if "images" not in row:
            continue
        count = len(row["images"])
        batch["images"][index, :count] = row["images"]
        batch["image_masks"][index, :count] = row["image_masks"]
        moved = row["image_input_idx"]
        batch["image_input_idx"][index, :count] = torch.where(moved >= 0, moved + before, moved)
    return batch
