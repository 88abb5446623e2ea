"""The network at the beginning: what initialization promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.scenes.kinds import all_kinds
from molmo_point.train.init_network import Network, build_network, init_vision
from molmo_point.train.recipe import Recipe, find_recipe
from molmo_point.train.scene_batches import SampleGenerator
from molmo_point.train.vocabulary import build_tokenizer, save_tokenizer

RESERVED = 8


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(build_tokenizer(), folder)
    return Tokenizer(folder)


@pytest.fixture(scope="module")
def begun(
    tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, torch.Tensor]:
    """nano's network with its patch embedding whitened, and the crops it was whitened with."""
    recipe = find_recipe("nano")
    folder = tmp_path_factory.mktemp("run")
    save_tokenizer(build_tokenizer(), folder)
    network = build_network(recipe, tokenizer)
    generator = SampleGenerator(0, recipe.stages[0], folder, network.model.config.preprocess)
    crops = torch.cat(
        [torch.from_numpy(generator.image(generator.scene(i)).crops) for i in range(6)]
    )
    init_vision(network.model, crops.flatten(0, 1), recipe.seed)
    return network, crops


def test_the_same_seed_makes_the_same_network(
    tokenizer: Tokenizer, make_recipe: Callable[..., Recipe]
) -> None:
    one, same, other = (build_network(make_recipe(seed=s), tokenizer).model for s in (3, 3, 4))
    first = dict(one.named_parameters())
    assert all(torch.equal(first[name], p) for name, p in same.named_parameters())
    assert not torch.equal(first["decoder.head.weight"], other.decoder.head.weight)


def test_patches_begin_white(begun: tuple[Network, torch.Tensor]) -> None:
    """Channels of the patch embedding vary about equally, and no two of them say the same."""
    network, crops = begun
    patches = crops.flatten(0, 1)
    with torch.no_grad():
        out = network.model.vision.patch_embedding(patches - patches.mean(0))[:, RESERVED:]
    deviations = out.std(0)
    assert float(deviations.max() / deviations.min()) < 3
    likeness = torch.corrcoef(out.T) - torch.eye(out.shape[1])
    assert float(likeness.abs().mean()) < 0.12


@torch.no_grad()
def test_places_survive_the_untrained_tower(begun: tuple[Network, torch.Tensor]) -> None:
    """The reserved channels point the same way for the same place, whatever is shown there, up to the end of the tower."""
    network, crops = begun
    features = network.model.vision(crops)[..., :RESERVED]
    directions = torch.nn.functional.normalize(features, dim=-1)
    mean = torch.nn.functional.normalize(directions.mean(0), dim=-1)
    assert float((directions * mean).sum(-1).min()) > 0.95
    nearest = torch.einsum("npd,qd->npq", directions, mean).argmax(-1)
    right = nearest == torch.arange(mean.shape[0])
    assert float(right.float().mean()) > 0.9


@torch.no_grad()
def test_signals_keep_their_size(begun: tuple[Network, torch.Tensor]) -> None:
    network, crops = begun
    model = network.model
    features = model.vision(crops)
    embeddings = model.connector(features, torch.ones(features.shape[:2]))
    assert 0.3 < float(features.std()) < 4
    assert 0.05 < float(embeddings.std()) < 4


def test_vision_heads_begin_by_looking_near(begun: tuple[Network, torch.Tensor]) -> None:
    network, crops = begun
    tower = network.model.vision
    with torch.no_grad():
        patches = tower.patch_embedding(crops[:2])
        x = torch.cat([tower.class_embedding.expand(2, 1, -1), patches], dim=1)
        x = tower.pre_norm(x + tower.positional_embedding)
        block = tower.blocks[0]
        qkv = block.qkv(block.attention_norm(x)).unflatten(-1, (3, block.heads, -1))
        q, k, _ = qkv.unbind(2)
        weights = torch.einsum("nqhd,nkhd->nhqk", q, k).mul(q.shape[-1] ** -0.5).softmax(-1)
    side = tower.config.grid[0]
    y, x_at = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    places = torch.stack([x_at, y], -1).reshape(-1, 2).float()
    near = torch.cdist(places, places) <= 3
    share = (weights[:, :, 1:, 1:] * near).sum(-1).mean()
    assert float(share) > 2.5 * float(near.float().mean())


def test_a_kind_has_a_class(tokenizer: Tokenizer, make_recipe: Callable[..., Recipe]) -> None:
    heads = build_network(make_recipe(), tokenizer).heads
    assert heads.kind.out_features == len(all_kinds()) + 1


@torch.no_grad()
def test_taught_heads_begin_as_readers_and_lookers(
    tokenizer: Tokenizer, begun: tuple[Network, torch.Tensor]
) -> None:
    """A word read by the reader, seen through the looker, is most like the directions of its own kind."""
    from molmo_point.train.init_decoder import init_decoder

    network, _ = begun
    recipe = find_recipe("nano").model
    init_decoder(network, tokenizer, recipe)
    width, blocks = recipe.width, network.model.decoder.blocks
    reader = blocks[recipe.taught_layer - 1].attention
    looker = blocks[recipe.taught_layer].attention
    rows = recipe.taught_heads * (width // recipe.heads)
    query, key = (looker.qkv.weight[at : at + rows] for at in (0, width))
    assert torch.equal(query, key)
    kinds = network.heads.kind.weight[1:]
    right = 0
    names = [kind.name for kind in all_kinds() if kind.family == "emoji" and " " not in kind.name]
    for index, kind in enumerate(all_kinds()):
        if kind.name in names:
            word = network.model.decoder.embedding.weight[tokenizer.encode(f" {kind.name}")[0]]
            value = reader.qkv.weight[2 * width :, :] @ word
            mine = torch.zeros(width)
            mine[:rows] = value[:rows]
            read = reader.out.weight @ mine
            seen = torch.cosine_similarity((key @ kinds.T).T, (query @ read)[None])
            right += int(seen.argmax()) == index
    assert right > 0.9 * len(names)
