"""The files of a checkpoint folder, and refusals of folders that only look like one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from molmo_point.errors import CheckpointError
from molmo_point.text_files import read_text

EXPECTED = "expected the folder of a Molmo checkpoint (config.json, tokenizer.json, *.safetensors)"

_LFS_SIGNATURE = b"version https://git-lfs.github.com/spec/"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds no checkpoint; the error says what it holds.

    Raises:
        CheckpointError: An adapter (LoRA), or no config.json.
    """
    adapters = [name for name in _ADAPTER_FILES if (folder / name).exists()]
    if adapters:
        raise CheckpointError(_adapter(folder, adapters))
    if not (folder / "config.json").exists():
        raise CheckpointError(f"{folder} has no config.json: {EXPECTED}")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        CheckpointError: The file is missing, a Git LFS pointer or damaged, or holds no object.
    """
    try:
        refuse_pointer(path)
        content = json.loads(read_text(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}: {EXPECTED}") from None
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def refuse_pointer(path: Path) -> None:
    """Refuse a Git LFS pointer: the short text that `git clone` writes instead of the file where git-lfs is not installed.

    Raises:
        CheckpointError: `path` is such a pointer.
    """
    with path.open("rb") as file:
        start = file.read(len(_LFS_SIGNATURE))
    if start == _LFS_SIGNATURE:
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the file itself: run `git lfs install` and `git lfs pull` in the clone, or "
            "download the model by its name"
        )


def weight_files(folder: Path) -> list[str]:
    """Return the names of a checkpoint's weight files, whether they exist or not.

    Raises:
        CheckpointError: The index is damaged.
    """
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return ["model.safetensors"]
    weight_map = read_json(index).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise CheckpointError(
            f"{index} is damaged: expected 'weight_map' with the file in this folder that holds each tensor; download it again"
        )
    return sorted(set(names))


def fingerprint(folder: Path, weights: Iterable[str] | None = None) -> str:
    """Return 32 hex digits that change with a checkpoint: contents of its small files, sizes and times of its weights.

    For answers that are kept between runs: a checkpoint that was trained on keeps its name.

    Args:
        weights: Names of the files of weights; None = those of a checkpoint.

    Raises:
        CheckpointError: The index is damaged.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.glob("*.json")):
        digest.update(repr((path.name, path.read_bytes())).encode())
    for name in weight_files(folder) if weights is None else weights:
        state = (folder / name).stat()
        digest.update(repr((name, state.st_size, state.st_mtime_ns)).encode())
    return digest.hexdigest()


def is_complete(folder: Path) -> bool:
    """Return whether all files of a checkpoint exist."""
    try:
        needed = ["config.json", "tokenizer.json", *weight_files(folder)]
    except CheckpointError:
        return False
    return all((folder / name).exists() for name in needed)


def _adapter(folder: Path, files: list[str]) -> str:
    base = ""
    if files[0] == _ADAPTER_FILES[0]:
        named = read_json(folder / files[0]).get("base_model_name_or_path")
        base = f" for {named}" if named else ""
    return (
        f"{folder} holds an adapter{base} (LoRA: {', '.join(files)}), not a complete model: load its base model with it "
        "(molmo_point.load(BASE, adapter=FOLDER)), or merge the two (molmo-point merge BASE FOLDER OUT) and give what that wrote"
    )
