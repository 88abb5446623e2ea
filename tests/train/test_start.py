"""Beginning with what another model knows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molmo_point.errors import PointError, UsageError
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.scenes import kinds as kinds_module
from molmo_point.train.compute_cost import read_cost, start_cost
from molmo_point.train.init_network import Network, build_network
from molmo_point.train.loop import train
from molmo_point.train.progress import Progress
from molmo_point.train.recipe import Recipe, read_recipe
from molmo_point.train.run_folder import open_run_folder
from molmo_point.train.state import class_names, load_state
from molmo_point.train.warm_start import WarmStart, read_new_words, warm_start

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, make_recipe: MakeRecipe) -> Path:
    """A run of a few steps."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    train(make_recipe(), folder, workers=0)
    return folder


def loaded(folder: Path, recipe: Recipe) -> Network:
    network = build_network(recipe, Tokenizer(folder))
    load_state(folder, {"model": network.model, "heads": network.heads}, None)
    return network


def begun(start: str, folder: Path, recipe: Recipe) -> tuple[Network, WarmStart]:
    open_run_folder(recipe, folder)
    network = build_network(recipe, Tokenizer(folder))
    return network, warm_start(start, network, folder)


def test_a_run_goes_on_from_another_with_everything(
    first: Path, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(seed=9)
    old = loaded(first, make_recipe())
    new, started = begun(str(first), tmp_path / "new", recipe)
    for part in ("model", "heads"):
        wanted = getattr(old, part).state_dict()
        for name, tensor in getattr(new, part).state_dict().items():
            assert torch.equal(tensor, wanted[name]), name
    assert read_new_words(tmp_path / "new") == frozenset()
    assert (started.reinitialized, started.new_words, started.new_kinds) == ((), (), ())


def test_a_checkpoint_gives_the_model_but_not_the_heads(
    first: Path, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    old = loaded(first, make_recipe())
    new, started = begun(str(first / "checkpoint"), tmp_path / "new", make_recipe(seed=9))
    for name, tensor in new.model.state_dict().items():
        # Checkpoints hold bfloat16.
        assert torch.equal(tensor, old.model.state_dict()[name].bfloat16().float()), name
    assert not torch.equal(new.heads.kind.weight, old.heads.kind.weight)
    assert all(name.startswith("heads.") for name in started.reinitialized)
    assert len(started.new_kinds) == len(class_names()["kinds"])


def test_words_and_kinds_are_found_by_name_when_the_tables_grow(
    first: Path, tmp_path: Path, make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind in front of all others moves every class and every word."""
    before = kinds_module.all_kinds()
    extra = kinds_module.Kind("emoji", "🧿", (("aaardvark", "aaardvarks"),), False)
    modules = (
        "synthetic.scenes.kinds",
        "synthetic.scenes.questions",
        "train.state",
        "train.vocabulary",
        "train.init_network",
        "train.init_decoder",
        "train.sample",
    )
    for module in modules:
        monkeypatch.setattr(f"molmo_point.{module}.all_kinds", lambda: (extra, *before))
    recipe = make_recipe(seed=9)
    old = loaded_with(first, make_recipe(), len(before))
    new, started = begun(str(first), tmp_path / "new", recipe)
    assert started.new_kinds == ("aaardvark",)
    assert "aaardvark" in started.new_words
    assert torch.equal(new.heads.kind.weight[2:], old["heads.kind.weight"][1:])
    assert torch.equal(new.heads.kind.weight[0], old["heads.kind.weight"][0])
    for text in (" dog", "61", '" alt="', " the"):
        mine, theirs = (Tokenizer(f).encode(text)[0] for f in (tmp_path / "new", first))
        assert torch.equal(
            new.model.decoder.embedding.weight[mine], old["model.decoder.embedding.weight"][theirs]
        )
        assert torch.equal(
            new.model.decoder.head.weight[mine], old["model.decoder.head.weight"][theirs]
        )
    assert Tokenizer(tmp_path / "new").encode(" the") != Tokenizer(first).encode(" the")


def loaded_with(folder: Path, _recipe: Recipe, _kinds: int) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "state.safetensors")


def test_a_run_with_a_start_says_so_and_resumes(
    first: Path, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(start=str(first))
    said = io.StringIO()
    train(recipe, tmp_path, workers=0, steps=2, progress=Progress(said))
    assert f"from {first}" in said.getvalue()
    (tmp_path / "start.json").read_text()
    checkpoint = train(recipe, tmp_path, workers=0)
    assert read_recipe(checkpoint / "training.json").start == str(first)
    whole = tmp_path / "whole"
    train(recipe, whole, workers=0)
    one, other = loaded(tmp_path, recipe), loaded(whole, recipe)
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name
    with pytest.raises(UsageError, match="another recipe"):
        train(make_recipe(), tmp_path, workers=0)


def test_a_model_of_other_sizes_is_refused(
    first: Path, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    other = make_recipe().model.model_copy(
        update={"vision_width": 24, "vision_heads": 3, "width": 32, "ffn": 48, "patch_size": 32}
    )
    recipe = make_recipe(model=other.model_dump(), start=str(first))
    with pytest.raises(UsageError, match="shares less than half"):
        train(recipe, tmp_path, workers=0, steps=1)


def test_a_start_that_is_not_there_is_named(tmp_path: Path, make_recipe: MakeRecipe) -> None:
    with pytest.raises(PointError, match="nowhere"):
        train(make_recipe(start="./nowhere"), tmp_path, workers=0, steps=1)


def test_a_damaged_note_of_the_start_is_named(tmp_path: Path) -> None:
    (tmp_path / "start.json").write_text(json.dumps(["no"]))
    with pytest.raises(UsageError, match="is damaged"):
        read_new_words(tmp_path)


def test_the_cost_of_the_start_is_added_up(tmp_path: Path, make_recipe: MakeRecipe) -> None:
    one = tmp_path / "one"
    train(make_recipe(name="one"), one, workers=0)
    two = make_recipe(name="two", start=str(one))
    train(two, tmp_path / "two", workers=0, steps=4)
    # Stopped in its second stage: a run that starts from here takes over what was spent.
    stopped = [(row["run"], row["stage"], row["pictures"]) for row in read_cost(tmp_path / "two")]
    assert stopped[3:] == [("two", "a", 6), ("two", "b", 2)]
    assert [row["stage"] for row in read_cost(one)] == ["a", "b", "c"]
    assert [row["pictures"] for row in read_cost(one)] == [6, 6, 6]
    checkpoint = train(two, tmp_path / "two", workers=0)
    rows = [(row["run"], row["stage"]) for row in read_cost(checkpoint)]
    assert rows == [(run, stage) for run in ("one", "two") for stage in "abc"]
    (checkpoint / "cost.json").write_text("[1]")
    with pytest.raises(UsageError, match=r"cost\.json is damaged"):
        read_cost(checkpoint)


def test_the_cost_of_a_start_by_name_is_added_up(tmp_path: Path) -> None:
    start_cost("nano", tmp_path)
    assert next(row["run"] for row in read_cost(tmp_path)) == "nano-1"
