"""Start a run from another model: weights are copied by name and shape, rows of words by their text, rows of classes by their
name.

Vocabulary and table of kinds may therefore grow between two runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.hub import resolve
from molmo_point.errors import UsageError
from molmo_point.model.weights import load_weights
from molmo_point.train.export import write_json
from molmo_point.train.init_network import Network
from molmo_point.train.state import CLASSES, STATE_FILE, class_names

START_FILE = "start.json"
"""In the run's folder: what was copied and what was initialised, see `WarmStart`."""

WORD_ROWS = ("model.decoder.embedding.weight", "model.decoder.head.weight")
CLASS_ROWS = {
    "heads.kind.weight": "kinds",
    "heads.kind.bias": "kinds",
    "heads.colour.weight": "colours",
    "heads.colour.bias": "colours",
    "heads.word.weight": "words",
    "heads.word.bias": "words",
}
"""Tensors of the auxiliary heads whose rows are classes -> the name of these classes in the state."""


@dataclass(frozen=True)
class WarmStart:
    """What was copied from the start.

    Attributes:
        start: As in the recipe.
        taken: Number of tensors copied, whole or row by row.
        reinitialized: Tensors that keep their initial values because the start has none of that name and shape.
        new_words: Tokens of the vocabulary that the start does not have.
        new_kinds: Kinds that the start's auxiliary heads do not have; all of them where it has no heads.
    """

    start: str
    taken: int
    reinitialized: tuple[str, ...]
    new_words: tuple[str, ...]
    new_kinds: tuple[str, ...]


@torch.no_grad()
def warm_start(start: str, network: Network, folder: Path) -> WarmStart:
    """Copy weights into a new network; return what was done, and write it into the run's folder.

    Args:
        start: The folder of a run, whose auxiliary heads are copied, too, or of a checkpoint, or the name of a model.
        folder: The run's folder; holds its tokenizer.

    Raises:
        UsageError: The start cannot be read, or shares nothing with the network.
        ModelNotFound, CheckpointError, DownloadError: As `molmo_point.load`.
    """
    tensors, classes, words = _read(start)
    own_words = _vocabulary(folder / "tokenizer.json")
    own_classes = class_names()
    modules: dict[str, nn.Module] = {"model": network.model, "heads": network.heads}
    mine = {
        f"{prefix}.{name}": tensor
        for prefix, module in modules.items()
        for name, tensor in module.state_dict(keep_vars=True).items()
    }
    reinitialized = []
    for name, tensor in mine.items():
        theirs = tensors.get(name)
        if theirs is None or theirs.shape[1:] != tensor.shape[1:]:
            reinitialized.append(name)
        elif theirs.shape == tensor.shape and own_words == words and name not in CLASS_ROWS:
            tensor.copy_(theirs)
        elif name in WORD_ROWS:
            _copy_rows(tensor, own_words, theirs, words)
        elif name in CLASS_ROWS:
            key = CLASS_ROWS[name]
            _copy_rows(tensor, _numbered(own_classes[key]), theirs, _numbered(classes[key]))
        elif theirs.shape == tensor.shape:
            tensor.copy_(theirs)
        else:
            reinitialized.append(name)
    taken = len(mine) - len(reinitialized)
    model = [name for name in mine if name.startswith("model.")]
    if sum(name in reinitialized for name in model) > len(model) / 2:
        raise UsageError(
            f"the start {start} shares less than half of its weights with the recipe's network: expected a model of the same "
            "widths; take its sizes into the recipe, or leave `start` out"
        )
    started = WarmStart(
        start,
        taken,
        tuple(reinitialized),
        tuple(word for word in own_words if word not in words),
        tuple(kind for kind in own_classes["kinds"] if kind not in classes["kinds"]),
    )
    write_json(folder / START_FILE, vars(started))
    return started


def start_folder(start: str) -> Path:
    """Return the folder of a run, or that of the checkpoint that a name or path stands for.

    Raises:
        ModelNotFound, CheckpointError, DownloadError: As `molmo_point.load`.
    """
    folder = Path(start).expanduser()
    return folder if (folder / STATE_FILE).exists() else resolve(start)


def read_new_words(folder: Path) -> frozenset[str] | None:
    """Return the tokens that a run's start did not have; None where the run started from random weights.

    Raises:
        UsageError: start.json is damaged.
    """
    path = folder / START_FILE
    if not path.exists():
        return None
    try:
        return frozenset(json.loads(path.read_text(encoding="utf-8"))["new_words"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{path} is damaged ({error}): expected an object with a list `new_words`; give another run folder"
        ) from error


def _read(start: str) -> tuple[dict[str, Tensor], dict[str, list[str]], dict[str, int]]:
    """Return tensors by their names in a state, the names of their classes, and the vocabulary."""
    folder = start_folder(start)
    state = folder / STATE_FILE
    nothing: dict[str, list[str]] = {"kinds": [], "colours": [], "words": []}
    if state.exists():
        try:
            with safe_open(state, "pt") as file:
                known = json.loads((file.metadata() or {}).get(CLASSES, "null"))
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError, ValueError) as error:
            raise UsageError(f"{state} is not the state of a training run: {error}") from error
        if known is None:
            # Rows without names would be copied to other classes.
            tensors = {name: t for name, t in tensors.items() if name not in CLASS_ROWS}
        return tensors, {**nothing, **(known or {})}, _vocabulary(folder / "tokenizer.json")
    model = load_weights(folder, MolmoConfig.from_folder(folder))
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    return tensors, nothing, _vocabulary(folder / "tokenizer.json")


def _vocabulary(path: Path) -> dict[str, int]:
    """Return token -> id of a tokenizer.json, special tokens included."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        added = {token["content"]: token["id"] for token in content["added_tokens"]}
        return {**content["model"]["vocab"], **added}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read as a tokenizer.json: {error}") from error


def _numbered(names: list[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


def _copy_rows(
    target: Tensor, own: Mapping[str, int], source: Tensor, theirs: Mapping[str, int]
) -> None:
    """Copy the rows whose names both sides have."""
    pairs = [
        (own[name], theirs[name])
        for name in own
        if name in theirs and own[name] < len(target) and theirs[name] < len(source)
    ]
    if pairs:
        to, of = (torch.tensor(rows) for rows in zip(*pairs, strict=True))
        target[to] = source[of].to(target)
