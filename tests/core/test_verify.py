"""`molmo-point verify`: passes on every golden family, fails when a single weight is changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from molmo_point.cli import main
from molmo_point.engine.verify import verify_folder
from molmo_point.errors import CheckpointError, UsageError

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["tiny-d", "tiny-o", "tiny-moe", "tiny-72b"])
def test_every_family_passes(name: str) -> None:
    reports = list(verify_folder(GOLDEN / "models" / name))
    assert [report.name for report in reports] == [
        "text",
        "img0_336x336",
        "img1_640x480",
        "img2_300x820",
    ]
    assert all(report.passed and report.greedy_equal and report.ids_equal for report in reports)


def test_one_changed_weight_is_a_miss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tiny-d"
    shutil.copytree(GOLDEN / "models/tiny-d", folder)
    shutil.copytree(GOLDEN / "images", folder / "images")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.transformer.blocks.1.ff_out.weight"][3, 5] += 1.0
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(SystemExit) as left:
        main(["verify", str(folder), "--json"])
    assert left.value.code == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 4
    assert not any(line["passed"] for line in lines)


@pytest.mark.parametrize("name", ["tiny-d", "tiny-o", "tiny-moe", "tiny-72b"])
def test_bfloat16_is_judged_by_agreement(name: str) -> None:
    reports = list(verify_folder(GOLDEN / "models" / name, dtype=torch.bfloat16))
    assert all("agreement" in report.tolerance for report in reports)
    assert all(report.passed for report in reports)


def test_a_change_that_affects_all_positions_is_a_miss_in_bfloat16(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-d"
    shutil.copytree(GOLDEN / "models/tiny-d", folder)
    shutil.copytree(GOLDEN / "images", folder / "images")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.transformer.blocks.0.att_proj.weight"][0, 0] += 4.0
    save_file(tensors, folder / "model.safetensors")
    reports = list(verify_folder(folder, dtype=torch.bfloat16))
    assert not any(report.passed for report in reports)


def test_a_device_that_is_not_there_is_no_traceback() -> None:
    with pytest.raises(UsageError, match="device"):
        list(verify_folder(GOLDEN / "models/tiny-o", device="cpu:3"))


def test_folder_without_golden_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a golden folder"):
        list(verify_folder(tmp_path))
