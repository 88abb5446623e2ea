"""Initialise the decoder after dense pretraining, so that words and image embeddings share directions from the first step.

The embedding of a word is the direction in which the auxiliary classifier of image embeddings detects its kind, or the word
itself where it is written on a page. The supervised attention heads start near what they are to learn.
"""

from __future__ import annotations

import re
from collections.abc import Container

import torch
from torch import Tensor

from molmo_point.model.decoder import DecoderBlock
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.pages.labels import label_forms, label_words
from molmo_point.synthetic.scenes.kinds import COLOURS, all_kinds
from molmo_point.train.init_network import Network
from molmo_point.train.recipe import ModelRecipe

IMAGE_DISTANCE = 220
"""Tokens between a question and the far end of its image, at nano's sizes."""

READ_SCALE, LOOK_SCALE = 1.5, 2.5
"""Scale of the initial weights that copy words, and of those that compare them with image tokens."""

BLEND = 0.5
"""Share of the new direction added to a word that has a meaning already: "home" is an icon, too."""


@torch.no_grad()
def init_decoder(network: Network, tokenizer: Tokenizer, recipe: ModelRecipe) -> None:
    """Initialise embeddings, output head and supervised attention heads from what dense pretraining learned."""
    init_words(network, tokenizer)
    init_label_words(network, tokenizer, label_forms())
    _init_supervised_heads(network, recipe)


@torch.no_grad()
def init_words(network: Network, tokenizer: Tokenizer, only: Container[str] | None = None) -> None:
    """Set each word's embedding to the direction in which the classifier detects its kind.

    Args:
        only: The words to set; None = all.
    """
    embedding = network.model.decoder.embedding.weight
    scale = float(embedding.std())
    kinds, colours = network.heads.kind.weight[1:], network.heads.colour.weight
    named = [(pair, kinds[index]) for index, kind in enumerate(all_kinds()) for pair in kind.names]
    named += [((name, name), colours[index]) for index, name in enumerate(COLOURS)]
    alone: dict[str, list[torch.Tensor]] = {}
    shared: dict[str, list[torch.Tensor]] = {}
    for names, direction in named:
        unit = direction / direction.norm() * scale * direction.numel() ** 0.5
        for name in set(names):
            words = set(re.findall(r"[A-Za-z]+", name))
            for word in words:
                (alone if name == word else shared).setdefault(word, []).append(unit)
    head = network.model.decoder.head.weight
    for word in sorted({*alone, *shared}):
        if only is not None and word not in only:
            continue
        # "dog" is the dog, not half a hot dog; "letter" belongs to two dozen kinds and thus to none.
        units = alone.get(word) or shared[word]
        if len(units) <= 4:
            for ids in (tokenizer.encode(word), tokenizer.encode(f" {word}")):
                if len(ids) == 1:
                    embedding[ids[0]] = torch.stack(units).mean(0)
                    # A label repeats the query: the state that reads a word predicts it.
                    head[ids[0]] += units[0] / units[0].norm()


@torch.no_grad()
def init_label_words(network: Network, tokenizer: Tokenizer, new: Container[str]) -> None:
    """Set the embeddings of the words of labels to the directions in which the classifier detects them.

    Args:
        new: Words, in the case they are written in, whose embedding is not trained yet; the direction is added to the others.
    """
    embedding = network.model.decoder.embedding.weight
    head = network.model.decoder.head.weight
    length = float(embedding.std()) * embedding.shape[1] ** 0.5
    directions = _word_directions(network)
    usual = head.mean(0)
    for word, direction in zip(label_words(), directions, strict=True):
        unit = direction / direction.norm()
        for form in (word, f" {word}", word.capitalize(), f" {word.capitalize()}"):
            ids = tokenizer.encode(form)
            if len(ids) != 1:
                continue
            if form.strip() in new:
                embedding[ids[0]] = length * unit
                head[ids[0]] = usual + unit
            else:
                embedding[ids[0]] += BLEND * length * unit


def _word_directions(network: Network) -> Tensor:
    """Return [words, D]: the classifier's weights for each word, minus their mean."""
    weight = network.heads.word.weight[1:] * network.heads.norm.weight
    return weight - weight.mean(0)


@torch.no_grad()
def _init_supervised_heads(network: Network, recipe: ModelRecipe) -> None:
    """Initialise the supervised heads: those of the first block copy the query's words, those of the second attend to similar
    tokens.

    Both use the subspace in which kinds, colours and words differ most. Only rotary dimensions that turn by less than a radian
    across the image's tokens can compare contents; the faster ones start at zero.
    """
    model, width = network.model, recipe.width
    size = width // recipe.heads
    half = size // 2
    frequencies = recipe.rope_theta ** (-torch.arange(half) / half)
    slow = torch.nonzero(frequencies * IMAGE_DISTANCE < 1)[:, 0]
    rows = torch.cat([slow, slow + half])
    kinds = network.heads.kind.weight[1:]
    directions = torch.cat(
        [kinds - kinds.mean(0), network.heads.colour.weight, _word_directions(network)]
    )
    basis = torch.linalg.svd(directions, full_matrices=False).Vh
    reader, looker = (
        model.decoder.blocks[max(0, recipe.taught_layer - 1)],
        model.decoder.blocks[recipe.taught_layer],
    )
    assert isinstance(reader, DecoderBlock)
    assert isinstance(looker, DecoderBlock)
    for head in range(recipe.taught_heads):
        part = basis[head * len(rows) : (head + 1) * len(rows)]
        mine = head * size + rows[: len(part)]
        whole = slice(head * size, (head + 1) * size)
        reader.attention.qkv.weight[2 * width :][whole] = 0
        reader.attention.qkv.weight[2 * width + mine] = part
        reader.attention.out.weight[:, whole] = 0
        reader.attention.out.weight[:, mine] = READ_SCALE * part.T
        for start in (0, width):
            looker.attention.qkv.weight[start:][whole] = 0
            looker.attention.qkv.weight[start + mine] = LOOK_SCALE * part
