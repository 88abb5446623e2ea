"""Build the network with random weights, and initialise the vision tower."""

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
from molmo_point.train.vocabulary import AnswerTokens

NEW_TOKENS = 8
"""Input-only rows of the embedding: Molmo's five image tokens, rounded up."""

FAINT = 0.005
"""Principal components of patches with a deviation below this share of the largest are not scaled up to full size."""

PLACE_SIZE = 3.0
"""Amplitude of the channels that carry a patch's position; the other channels start at about 0.5."""

NEARNESS = 1.3
"""Size of the initial queries and keys of the vision tower: attention falls off within about three patches."""


@dataclass(frozen=True)
class Network:
    """What is trained: the Molmo that is shipped, the auxiliary heads that are not, and the ids that the losses need."""

    model: Molmo
    heads: AuxiliaryHeads
    tokens: AnswerTokens


@torch.no_grad()
def build_network(recipe: Recipe, tokenizer: Tokenizer) -> Network:
    """Return a network with random weights; the same recipe seed gives the same weights."""
    config = recipe.model.config(tokenizer.special.end + 1, NEW_TOKENS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = Molmo(config)
        for name, parameter in model.named_parameters():
            _initialize(name, parameter, recipe.model)
        model.vision.positional_embedding.copy_(_positional_embedding(model.config.vision))
        _mimetic_attention(model)
        patch_features = recipe.model.vision_width * len(recipe.model.feature_layers)
        heads = AuxiliaryHeads(
            recipe.model.width, len(all_kinds()), len(COLOURS), len(label_words()), patch_features
        )
    return Network(model, heads, AnswerTokens.of(tokenizer))


def _initialize(name: str, parameter: nn.Parameter, recipe: ModelRecipe) -> None:
    """Scale weights by fan-in, so that activations keep their size; the usual 0.02 is too small for a narrow network."""
    if name.endswith("bias"):
        nn.init.zeros_(parameter)
    elif name == "decoder.embedding.weight":
        nn.init.normal_(parameter, std=0.3)
    elif name == "vision.patch_embedding.weight":
        # Neighbouring pixels are correlated, so their sum is larger than that of independent ones.
        nn.init.normal_(parameter, std=0.3 * parameter.shape[1] ** -0.5)
    elif parameter.ndim > 1 and name != "connector.pad_embed":
        inward = name.endswith(
            ("attention.out.weight", "ffn.down.weight", "attention_out.weight", "mlp_out.weight")
        )
        depth = recipe.vision_layers if name.startswith("vision") else recipe.layers
        # Branches that end in the residual stream start smaller in a deeper stack (GPT-2).
        scale = (2 * depth) ** -0.5 if inward else 1.0
        nn.init.normal_(parameter, std=scale * parameter.shape[1] ** -0.5)


def _positional_embedding(config: VisionConfig) -> torch.Tensor:
    """Return the initial positional embedding: sines and cosines of row and column (Beyer et al., arXiv 2205.01580), class
    token 0.

    Wave lengths go from 6 to 63 patches: embeddings of near patches are similar, those of distant ones are not.
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
def _mimetic_attention(model: Molmo) -> None:
    """Initialise every vision head with equal query and key weights: a patch attends to similar patches near it.

    Mimetic initialization (Trockman and Kolter, arXiv 2305.09828). Without it the tower ignores neighbouring patches for
    thousands of steps.
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
def reserve_position_channels(model: Molmo) -> None:
    """Reserve channels for a patch's position in its crop; the tower's blocks initially write nothing to them.

    Classifying things needs no positions, so without this they are lost within two blocks, and the decoder is left with the order
    of the tokens.
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
    assert tower.class_embedding is not None
    assert tower.pre_norm is not None
    tower.class_embedding[reserved] = 0
    tower.pre_norm.weight[reserved], tower.pre_norm.bias[reserved] = 1.0, 0.0
    for block in tower.blocks:
        assert isinstance(block, VisionBlock)
        for layer in (block.attention_out, block.mlp_out):
            layer.weight[reserved] = 0
            layer.bias[reserved] = 0
    _pass_position_channels(model.connector, len(waves))


@torch.no_grad()
def _pass_position_channels(connector: Connector, count: int) -> None:
    """Copy the reserved channels through pooling; an eighth of the projector's hidden units start with products of them."""
    assert connector.pool_out is not None
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
    """Initialise the patch embedding by whitening patches, so that edges weigh as much as brightness.

    Without it the tower learns little but brightness and colour for thousands of steps (first layer of Jordan, arXiv 2404.00498).

    Args:
        patches: [N, patch pixels] normalised, of training images.
    """
    weight = model.vision.patch_embedding.weight
    width = len(weight)
    _, scales, directions = torch.linalg.svd(patches - patches.mean(0), full_matrices=False)
    deviations = scales[:width] / len(patches) ** 0.5
    kept = directions[:width] / (deviations[:, None] + FAINT * deviations[0])
    generator = torch.Generator().manual_seed(seed)
    # A random rotation, so that no channel holds only brightness or only noise.
    turn = torch.linalg.qr(torch.randn(len(kept), len(kept), generator=generator))[0]
    mixed = 0.7 * turn @ kept
    weight.zero_()
    weight[: len(mixed)] = mixed.to(weight)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reserve_position_channels(model)
