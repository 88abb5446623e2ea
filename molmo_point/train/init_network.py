"""The network at the beginning: random weights, and what a stage hands on to the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from molmo_point.checkpoints.config import VisionConfig
from molmo_point.model.connector import Connector
from molmo_point.model.molmo import Molmo
from molmo_point.model.vision import VisionBlock
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.pages.labels import label_words
from molmo_point.synthetic.scenes.kinds import COLOURS, all_kinds
from molmo_point.train.auxiliary_losses import AuxiliaryHeads
from molmo_point.train.recipe import ModelRecipe, Recipe

NEW_TOKENS = 8
"""Input-only rows of the embedding: Molmo's five image tokens, rounded up."""

FAINT = 0.005
"""Directions in which patches vary less than this share of their brightness are not enlarged to full size."""

PLACE_SIZE = 3.0
"""Amplitude of the channels that carry a patch's place; patches begin at about a half."""

NEARNESS = 1.3
"""Size of the vision tower's first queries and keys: attention mostly within three patches."""


@dataclass(frozen=True)
class Network:
    """What is trained: the Molmo that is shipped, and the heads that are not."""

    model: Molmo
    heads: AuxiliaryHeads


@torch.no_grad()
def build_network(recipe: Recipe, tokenizer: Tokenizer) -> Network:
    """Make a network with random weights, the same for the same seed."""
    config = recipe.model.config(tokenizer.special.end_of_text + 1, NEW_TOKENS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = Molmo(config)
        for name, parameter in model.named_parameters():
            _initialize(name, parameter, recipe.model)
        model.vision.positional_embedding.copy_(_places(model.config.vision))
        _look_near(model)
        patch_features = recipe.model.vision_width * len(recipe.model.feature_layers)
        heads = AuxiliaryHeads(
            recipe.model.width, len(all_kinds()), len(COLOURS), len(label_words()), patch_features
        )
    return Network(model, heads)


def _initialize(name: str, parameter: nn.Parameter, recipe: ModelRecipe) -> None:
    """Draw a weight so that signals keep their size from layer to layer; 0.02, right for large models, starves narrow ones."""
    if name.endswith("bias"):
        nn.init.zeros_(parameter)
    elif name == "decoder.embedding.weight":
        nn.init.normal_(parameter, std=0.3)
    elif name == "vision.patch_embedding.weight":
        # Neighbouring pixels agree, so that their sum is far larger than that of independent ones.
        nn.init.normal_(parameter, std=0.3 * parameter.shape[1] ** -0.5)
    elif parameter.ndim > 1 and name != "connector.pad_embed":
        inward = name.endswith(
            ("attention.out.weight", "ffn.down.weight", "attention_out.weight", "mlp_out.weight")
        )
        depth = recipe.vision_layers if name.startswith("vision") else recipe.layers
        # Branches that end in the residual stream start small, more so in a deep stack (GPT-2).
        scale = (2 * depth) ** -0.5 if inward else 1.0
        nn.init.normal_(parameter, std=scale * parameter.shape[1] ** -0.5)


def _places(config: VisionConfig) -> torch.Tensor:
    """Positional embedding to begin with: sines and cosines of row and column (Beyer et al., arXiv 2205.01580), class token 0.

    Wave lengths from 6 to 63 patches: near places are alike, places across the crop are not.
    """
    rows, columns = config.grid
    frequencies = 1.0 / 10 ** (torch.arange(config.width // 4) / (config.width // 4))
    out = torch.zeros(config.n_positions, config.width)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in (x, y)]
    waves = torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)
    out[1:, : waves.shape[1]] = 0.5 * waves
    return out


@torch.no_grad()
def _look_near(model: Molmo) -> None:
    """Begin every vision head with equal queries and keys, so that a patch attends to patches like it and near it.

    Mimetic initialization (Trockman and Kolter, arXiv 2305.09828): a tower that has to find out by itself that neighbours
    matter stays a bag of colours for thousands of steps.
    """
    config = model.config.vision
    inner = config.heads * config.head_dim
    for block in model.vision.blocks:
        assert isinstance(block, VisionBlock)
        weight = block.qkv.weight
        for head in range(config.heads):
            basis = torch.linalg.qr(torch.randn(config.width, config.width))[0][: config.head_dim]
            rows = slice(head * config.head_dim, (head + 1) * config.head_dim)
            weight[:inner][rows] = NEARNESS * basis
            weight[inner : 2 * inner][rows] = NEARNESS * basis


@torch.no_grad()
def reserve_places(model: Molmo) -> None:
    """Give a patch's place in its crop channels of its own, which the tower's blocks begin without writing to.

    Learning what things are has no use for where they are, and forgets it within a block or two; the decoder then has only the
    order of the tokens to tell places by.
    """
    tower = model.vision
    rows, columns = tower.config.grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    turns = [
        torch.pi * (axis.reshape(-1) + 0.5) / size for axis, size in ((x, columns), (y, rows))
    ]
    waves = [wave(k * turn) for turn in turns for k in (1, 3) for wave in (torch.cos, torch.sin)]
    reserved = slice(0, len(waves))
    tower.positional_embedding[:, reserved] = 0
    tower.positional_embedding[1:, reserved] = PLACE_SIZE * torch.stack(waves, dim=1)
    tower.patch_embedding.weight[reserved] = 0
    tower.class_embedding[reserved] = 0
    tower.pre_norm.weight[reserved], tower.pre_norm.bias[reserved] = 1.0, 0.0
    for block in tower.blocks:
        assert isinstance(block, VisionBlock)
        for layer in (block.attention_out, block.mlp_out):
            layer.weight[reserved] = 0
            layer.bias[reserved] = 0
    _pass_places(model.connector, len(waves))


@torch.no_grad()
def _pass_places(connector: Connector, count: int) -> None:
    """Lead the reserved channels through pooling, and give an eighth of the projector's hidden units to products of them."""
    inner, hidden = connector.pool_out.in_features, connector.down.in_features
    value = connector.key_value.weight[inner:]
    copied = torch.eye(count)
    value[:count] = 0
    value[:count, :count] = copied
    connector.key_value.bias[inner : inner + count] = 0
    connector.pool_out.weight[:count] = 0
    connector.pool_out.weight[:count, :count] = copied
    units = hidden // 8
    for start in (0, hidden):
        rows = connector.gate_up.weight[start : start + units]
        rows.zero_()
        rows[:, :count] = torch.randn(units, count) * count**-0.5


@torch.no_grad()
def init_vision(model: Molmo, patches: torch.Tensor, seed: int) -> None:
    """Start the patch embedding by whitening what patches look like, so that edges weigh as much as brightness.

    Without it brightness and colour drown everything else, and the tower learns nothing but them for thousands of steps
    (first layer of Jordan, arXiv 2404.00498).

    Args:
        patches: [N, patch pixels] normalised, from training pictures.
    """
    weight = model.vision.patch_embedding.weight
    width = len(weight)
    _, scales, directions = torch.linalg.svd(patches - patches.mean(0), full_matrices=False)
    deviations = scales[:width] / len(patches) ** 0.5
    kept = directions[:width] / (deviations[:, None] + FAINT * deviations[0])
    generator = torch.Generator().manual_seed(seed)
    # Turned at random, so that no channel is all brightness and none all noise.
    turn = torch.linalg.qr(torch.randn(len(kept), len(kept), generator=generator))[0]
    mixed = 0.7 * turn @ kept
    weight.zero_()
    weight[: len(mixed)] = mixed.to(weight)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reserve_places(model)
