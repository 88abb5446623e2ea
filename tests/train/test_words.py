"""Words of labels: what a token is taught is what is written there, and every known word has its class and its tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.preprocess.crops import crop_image, token_grid
from molmo_point.preprocess.resize import Placement, place
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.pages.draw import PageStyle, draw_page
from molmo_point.synthetic.pages.labels import (
    is_kept,
    known_labels,
    label_forms,
    label_words,
    word_classes,
)
from molmo_point.synthetic.scenes.scene import Scene, Writing
from molmo_point.synthetic.splits import training_seed
from molmo_point.train import vocabulary
from molmo_point.train.auxiliary_losses import dense_losses, encode_images
from molmo_point.train.data_loader import load_batches
from molmo_point.train.init_decoder import init_decoder, init_label_words, init_words
from molmo_point.train.init_network import Network, build_network
from molmo_point.train.loop import train
from molmo_point.train.recipe import Recipe
from molmo_point.train.run_folder import open_run_folder
from molmo_point.train.sample import NO_PATCH, build_image_sample
from molmo_point.train.scene_batches import SampleGenerator
from molmo_point.train.state import CLASSES
from molmo_point.train.vocabulary import build_tokenizer, save_tokenizer
from molmo_point.train.warm_start import WarmStart, read_new_words, warm_start
from molmo_point.train.words import NO_WORD, WORDS, words_in_cells

CONFIG = PreprocessConfig(crop_size=224, patch_size=16, margins=(2, 2), max_crops=4)
CELL = 32
MOSAIC = PageStyle(sizes=((224, 224),), text=(10, 24), mosaic=True)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(build_tokenizer(), folder)
    return Tokenizer(folder)


def page(index: int, style: PageStyle = MOSAIC) -> Scene:
    return draw_page(training_seed(0, "words", index), style)


def written(scene: Scene, view: Placement, row: int, column: int) -> dict[int, float]:
    """Pixels of each word's line in a cell of a canvas, counted one by one at four times the resolution."""
    height, width = scene.image.shape[:2]
    step = (np.arange(4 * CELL) + 0.5) / 4
    x = (column * CELL + step - view.left) / view.width * width
    y = (row * CELL + step - view.top) / view.height * height
    found: dict[int, float] = {}
    for line in scene.writings:
        left, top, right, bottom = line.box
        area = float(((x >= left) & (x < right)).sum() * ((y >= top) & (y < bottom)).sum())
        classes = word_classes(line.text)
        for word in classes:
            found[word] = found.get(word, 0.0) + area / len(classes)
    return {word: area for word, area in found.items() if area}


@pytest.mark.parametrize("index", range(6))
def test_a_token_is_taught_the_words_that_are_written_there(index: int) -> None:
    """Against pixels that are counted one by one, in the small view and in the crops."""
    size = ((224, 224), (320, 240), (240, 320))[index % 3]
    scene = page(index, PageStyle(sizes=(size,), text=(12, 24), mosaic=index % 2 == 0))
    cut = crop_image(scene.image, CONFIG)
    height, width = scene.image.shape[:2]
    views = [
        (place(width, height, 224, 224), (7, 7)),
        (cut.placement, token_grid(*cut.grid, CONFIG)),
    ]
    taught = 0
    for view, (rows, columns) in views:
        classes, shares = words_in_cells(scene, view, rows, columns, CELL)
        assert classes.shape == shares.shape == (rows, columns, WORDS)
        for row, column in np.ndindex(rows, columns):
            there = written(scene, view, row, column)
            total = sum(there.values())
            told = {
                int(word): float(share)
                for word, share in zip(classes[row, column], shares[row, column], strict=True)
                if word != NO_WORD
            }
            if not told:
                continue
            taught += 1
            assert sum(told.values()) == pytest.approx(1, abs=1e-5)
            best = max(told, key=lambda word: told[word])
            assert there[best] >= 0.8 * max(there.values())
            for word in told:
                assert there[word] / total > 0.05
    assert taught > 15


def test_the_tokens_of_a_label_spell_it() -> None:
    """The cell under the middle of a large line of text is taught that line's words."""
    scene = page(3, PageStyle(sizes=((224, 224),), text=(20, 24)))
    view = place(224, 224, 224, 224)
    classes, _ = words_in_cells(scene, view, 7, 7, CELL)
    for line in scene.writings:
        left, top, right, bottom = line.box
        inside = left >= 0 and right <= 224 and top >= 0 and bottom <= 224
        if inside and right - left > 40:
            x, y = (left + right) / 2, (top + bottom) / 2
            cell = classes[int(y // CELL), int(x // CELL)]
            assert set(word_classes(line.text)) & set(cell.tolist()), line


def test_every_token_of_an_image_has_the_words_of_its_own_view(tokenizer: Tokenizer) -> None:
    scene = page(4, PageStyle(sizes=((320, 240),), text=(16, 24)))
    cut = crop_image(scene.image, CONFIG)
    image = build_image_sample(scene, CONFIG, tokenizer)
    patches = np.nonzero(image.token_things != NO_PATCH)[0]
    low = words_in_cells(scene, place(320, 240, 224, 224), 7, 7, CELL)
    rows, columns = token_grid(*cut.grid, CONFIG)
    high = words_in_cells(scene, cut.placement, rows, columns, CELL)
    for mine, *views in zip((image.words, image.word_areas), low, high, strict=True):
        wanted = np.concatenate([view.reshape(-1, WORDS) for view in views])
        assert np.array_equal(mine[patches], wanted)
    assert (image.words[patches[:49]] > 0).any()
    assert (image.words[patches[49:]] > 0).any()


def test_all_words_of_a_label_are_taught_at_each_of_its_tokens() -> None:
    image = np.zeros((224, 224, 3), np.uint8)
    owner = np.full((224, 224), -1, np.int16)
    box = (4.0, 4.0, 120.0, 20.0)
    scene = Scene(0, image, (), owner, writings=(Writing("LOG OUT zzyzx", box),))
    classes, shares = words_in_cells(scene, place(224, 224, 224, 224), 7, 7, CELL)
    log, out = (1 + label_words().index(word) for word in ("log", "out"))
    for column in range(4):
        assert sorted(classes[0, column].tolist()) == sorted([log, out, 0, NO_WORD])
        assert shares[0, column, :3] == pytest.approx([1 / 3] * 3)
    assert (classes[1:] == NO_WORD).all()
    assert not shares[1:].any()


def test_text_too_small_to_read_is_not_taught(tokenizer: Tokenizer) -> None:
    scene = page(1, PageStyle(sizes=((1280, 800),), text=(12, 14)))
    image = build_image_sample(scene, CONFIG, tokenizer)
    low = np.nonzero(image.token_things != NO_PATCH)[0][:49]
    assert not image.word_areas[low].any()
    assert scene.writings


def test_no_word_of_evaluation_has_a_class() -> None:
    assert len(label_words()) > 350
    assert not [word for word in label_words() if is_kept(word)]
    assert word_classes("Zzyzx save") == (0, 1 + label_words().index("save"))
    for label in known_labels(kept=False):
        assert 0 not in word_classes(label), label


def test_every_known_label_is_a_token_a_word(tokenizer: Tokenizer) -> None:
    for label in known_labels(kept=False):
        for text in (label, label.lower()):
            words = re.findall("[A-Za-z]+", text)
            if re.fullmatch("[A-Za-z]+( [A-Za-z]+)*", text) and text not in ("OK", "FAQ"):
                ids = tokenizer.encode(f"Point to {text}")[2:]
                assert len(ids) == len(words), text
                assert tokenizer.decode(ids) == f" {text}"


def test_words_are_learned_and_counted(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """Unknown words count less than known ones, and a image without text teaches none."""
    recipe = make_recipe()
    open_run_folder(recipe, tmp_path)
    network = build_network(recipe, Tokenizer(tmp_path))
    mixes = [
        {"page": {"sizes": [[96, 80]], "text": [10, 12]}},
        {"style": {"sizes": [[64, 48]], "things": [1, 4]}},
    ]
    counts = []
    for mix in mixes:
        stage = recipe.stages[0].model_copy(update={"batch": 4})
        stage = stage.model_validate({**stage.model_dump(), "scenes": [mix]})
        generator = SampleGenerator(0, stage, tmp_path, network.model.config.preprocess)
        batch = next(load_batches(generator, 0, 0)).batch
        assert batch is not None
        losses = dense_losses(network.heads, encode_images(network.model, batch.inputs), batch)
        counts.append(losses.counts)
        losses.parts["word"].backward()
        grad = network.heads.word.weight.grad
        if mix is mixes[0]:
            assert float(losses.parts["word"].detach()) > 0.5 * np.log(len(label_words()))
            assert grad is not None
            assert float(grad.abs().max()) > 0
        else:
            assert float(losses.parts["word"].detach()) == 0
    assert counts[0]["words"] > 5
    assert 0 <= counts[0]["words_right"] <= counts[0]["words"]
    assert "words" not in counts[1]


@pytest.fixture(scope="module")
def unlettered(
    tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Recipe]
) -> Path:
    """A run from before words had classes and tokens."""
    folder = tmp_path_factory.mktemp("runs") / "old"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "label_forms", lambda: ())
        train(make_recipe(), folder, workers=0)
    path = folder / "state.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {
            key: file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118 - not a dict
            if not key.startswith(("heads.word.", "optimizer."))
        }
    classes = json.loads(metadata[CLASSES])
    del classes["words"]
    save_file(tensors, path, metadata={**metadata, CLASSES: json.dumps(classes)})
    return folder


def begun(start: Path, folder: Path, recipe: Recipe) -> tuple[Network, Tokenizer, WarmStart]:
    open_run_folder(recipe, folder)
    tokenizer = Tokenizer(folder)
    network = build_network(recipe, tokenizer)
    return network, tokenizer, warm_start(str(start), network, folder)


@torch.no_grad()
def test_a_run_from_before_words_goes_on_with_them(
    unlettered: Path, tmp_path: Path, make_recipe: Callable[..., Recipe]
) -> None:
    network, tokenizer, started = begun(unlettered, tmp_path / "new", make_recipe(seed=9))
    assert set(started.reinitialized) == {"heads.word.weight", "heads.word.bias"}
    assert {"checkout", "Checkout"} <= set(started.new_words)
    before = Tokenizer(unlettered)
    old = {}
    with safe_open(unlettered / "state.safetensors", "pt") as file:
        for name in ("embedding", "head"):
            old[name] = file.get_tensor(f"model.decoder.{name}.weight")
    decoder = network.model.decoder
    for text in (" dog", "61", '" alt="', " the", "</points>"):
        mine, theirs = tokenizer.encode(text)[0], before.encode(text)[0]
        assert torch.equal(decoder.embedding.weight[mine], old["embedding"][theirs])
        assert torch.equal(decoder.head.weight[mine], old["head"][theirs])
    assert len(before.encode(" checkout")) > 1 == len(tokenizer.encode(" checkout"))


def test_words_are_found_by_name_when_their_table_changes(
    tmp_path: Path, make_recipe: Callable[..., Recipe]
) -> None:
    train(make_recipe(), tmp_path / "old", workers=0, steps=1)
    path = tmp_path / "old" / "state.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    weight = tensors["heads.word.weight"].clone()
    classes = json.loads(metadata[CLASSES])
    classes["words"] = classes["words"][::-1]
    for name in ("heads.word.weight", "heads.word.bias"):
        tensors[name] = tensors[name].flip(0).contiguous()
    save_file(tensors, path, metadata={**metadata, CLASSES: json.dumps(classes)})
    network, _, _ = begun(tmp_path / "old", tmp_path / "new", make_recipe(seed=9))
    assert torch.equal(network.heads.word.weight, weight)


@torch.no_grad()
def test_new_words_begin_as_what_is_looked_for_and_all_else_stays(
    unlettered: Path, tmp_path: Path, make_recipe: Callable[..., Recipe]
) -> None:
    network, tokenizer, _ = begun(unlettered, tmp_path / "new", make_recipe(seed=9))
    before = {name: t.clone() for name, t in network.model.state_dict().items()}
    known = tokenizer.encode(" the")[0], tokenizer.encode(" home")[0]
    new_words = read_new_words(tmp_path / "new")
    assert new_words
    init_words(network, tokenizer, new_words)
    init_label_words(network, tokenizer, new_words & set(label_forms()))
    rows = network.model.decoder.embedding.weight
    old = before["decoder.embedding.weight"]
    assert torch.equal(rows[known[0]], old[known[0]])
    # "home" is an icon, too: it leans over, and stays nearer to what it was.
    assert 0.5 < float(torch.cosine_similarity(rows[known[1]], old[known[1]], 0)) < 0.999
    for name, tensor in network.model.state_dict().items():
        if "embedding" not in name and "head" not in name:
            assert torch.equal(tensor, before[name]), name
    directions = network.heads.word.weight[1:] * network.heads.norm.weight
    directions = directions - directions.mean(0)
    for word in ("checkout", "invoice"):
        unit = directions[label_words().index(word)]
        for form in (word, f" {word.capitalize()}"):
            row = network.model.decoder.embedding.weight[tokenizer.encode(form)[0]]
            assert float(torch.cosine_similarity(row, unit, 0)) > 0.999


@torch.no_grad()
def test_taught_heads_begin_by_looking_for_the_word_that_is_read(
    tokenizer: Tokenizer, make_recipe: Callable[..., Recipe]
) -> None:
    """What the reader copies of a word, the looker finds most in the direction of that word."""
    sizes = {**make_recipe().model.model_dump(), "width": 64, "heads": 4, "taught_heads": 3}
    recipe = make_recipe(model={**sizes, "rope_theta": 1e6})
    network = build_network(recipe, tokenizer)
    # Words differ where kinds do not: a subspace of kinds alone would be blind to them.
    for part in (network.heads.kind, network.heads.colour):
        part.weight[:, :32] = 0
    network.heads.word.weight[:, 32:] = 0
    network.heads.word.weight *= 3
    init_decoder(network, tokenizer, recipe.model)
    width = recipe.model.width
    reader, looker = (network.model.decoder.blocks[at].attention for at in (0, 1))
    rows = slice(0, 3 * (width // recipe.model.heads))
    key = looker.qkv.weight[width:][rows]
    directions = network.heads.word.weight[1:] * network.heads.norm.weight
    directions = directions - directions.mean(0)
    kept = (directions @ key.T).norm() / (key.norm(dim=1).max() * directions.norm())
    assert float(kept) > 0.7
    first = 0
    for index, word in enumerate(label_words()):
        row = network.model.decoder.embedding.weight[tokenizer.encode(f" {word}")[0]]
        read = reader.out.weight[:, rows] @ (reader.qkv.weight[2 * width :][rows] @ row)
        alike = torch.cosine_similarity((directions @ key.T), (key @ read)[None])
        first += int((alike >= alike[index]).sum()) == 1
    assert first > 0.9 * len(label_words())
