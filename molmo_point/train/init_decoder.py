"""How the decoder begins: words as what they look like, and the taught heads as what they will be taught.

Question and picture then speak one language from the first step: a word begins as the direction in which the classifier of the
image embeddings looks for its kind, or for the word itself where it is written on a page.
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

TOKENS_AWAY = 220
"""Tokens between a question and the far end of its picture, for nano's sizes."""

COPIED, LIKENESS = 1.5, 2.5
"""Sizes of the first weights that copy words and that compare them with what is seen."""

BLENDED = 0.5
"""Share of its new direction that a word takes on which already means something: "home" is an icon, too."""


@torch.no_grad()
def init_decoder(network: Network, tokenizer: Tokenizer, recipe: ModelRecipe) -> None:
    """Start the decoder from what dense pretraining learned.

    The taught heads begin as readers of the question and lookers for what is like it (`_lead_words`).
    """
    init_words(network, tokenizer)
    begin_label_words(network, tokenizer, label_forms())
    _lead_words(network, recipe)


@torch.no_grad()
def init_words(network: Network, tokenizer: Tokenizer, only: Container[str] | None = None) -> None:
    """Let a word begin as the direction in which the classifier looks for its kind: question and picture speak one language.

    Args:
        only: Words that begin so; None = all.
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
        # "dog" is the dog, not half a hot dog; "letter" belongs to two dozen kinds and so to none of them.
        units = alone.get(word) or shared[word]
        if len(units) <= 4:
            for ids in (tokenizer.encode(word), tokenizer.encode(f" {word}")):
                if len(ids) == 1:
                    embedding[ids[0]] = torch.stack(units).mean(0)
                    # A label repeats the question: what reads a word writes it.
                    head[ids[0]] += units[0] / units[0].norm()


@torch.no_grad()
def begin_label_words(network: Network, tokenizer: Tokenizer, new: Container[str]) -> None:
    """Let the words of labels begin as the directions in which the classifier looks for them.

    Args:
        new: Words whose embedding has not learned anything yet, as they are written; the others keep theirs and lean over.
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
                embedding[ids[0]] += BLENDED * length * unit


def _word_directions(network: Network) -> Tensor:
    """[words, D]: what an image embedding has more of where a word is written than where any other is."""
    weight = network.heads.word.weight[1:] * network.heads.norm.weight
    return weight - weight.mean(0)


@torch.no_grad()
def _lead_words(network: Network, recipe: ModelRecipe) -> None:
    """Let the taught heads begin as what they are taught: readers copy the words asked for, lookers look for what is like them.

    Both work in the subspace in which kinds, colours and words of labels differ most. Only rotary dimensions that turn by less
    than a radian across the picture's tokens compare contents; the faster ones begin at zero.
    """
    model, width = network.model, recipe.width
    size = width // recipe.heads
    half = size // 2
    frequencies = recipe.rope_theta ** (-torch.arange(half) / half)
    slow = torch.nonzero(frequencies * TOKENS_AWAY < 1)[:, 0]
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
        reader.attention.out.weight[:, mine] = COPIED * part.T
        for start in (0, width):
            looker.attention.qkv.weight[start:][whole] = 0
            looker.attention.qkv.weight[start + mine] = LIKENESS * part
