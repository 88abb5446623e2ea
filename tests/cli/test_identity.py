"""Answers that are kept between runs belong to one model: its name alone does not tell it from others."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from molmo_point.cli.model_options import ModelSelection

TINY = Path(__file__).parents[1] / "golden" / "models" / "tiny-d"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "checkpoint"))


def test_the_same_files_are_the_same_model(folder: Path) -> None:
    one, two = (ModelSelection(str(folder)).identity("checkpoint") for _ in range(2))
    assert one == two
    assert json.loads(json.dumps(one)) == one


def test_weights_that_were_trained_on_are_another_model(folder: Path) -> None:
    before = ModelSelection(str(folder)).identity("checkpoint")
    weights = folder / "model.safetensors"
    state = weights.stat()
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert ModelSelection(str(folder)).identity("checkpoint") != before


def test_another_configuration_is_another_model(folder: Path) -> None:
    before = ModelSelection(str(folder)).identity("checkpoint")
    path, state = folder / "config.json", (folder / "config.json").stat()
    path.write_text(path.read_text().replace(" ", "  ", 1))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert ModelSelection(str(folder)).identity("checkpoint") != before


def test_types_of_weights_and_servers_count_too() -> None:
    every = [
        ModelSelection().identity("nano"),
        ModelSelection(dtype="bfloat16").identity("nano"),
        ModelSelection(quantize="int8").identity("nano"),
        ModelSelection(connect="tcp://a:5555").identity("nano"),
        ModelSelection(connect="tcp://b:5555").identity("nano"),
        ModelSelection(connect="tcp://a:5555").identity("molmo-7b-d"),
    ]
    assert all(one not in every[:index] for index, one in enumerate(every))
