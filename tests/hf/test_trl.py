"""trl's SFT on a tiny Molmo, in the environment of `sh tests/vlm/engines/environments.sh`; skipped where it is missing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.environments import environment

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden"


def test_supervised_fine_tuning_runs_and_learns(tmp_path: Path) -> None:
    folder = environment("trl")
    done = subprocess.run(
        [str(folder / "bin/python"), str(Path(__file__).with_name("with_trl.py")),
         str(GOLDEN / "models/tiny-d"), str(GOLDEN / "images/img0_336x336.png"), str(tmp_path)],
        capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    heard = json.loads(done.stdout.splitlines()[-1])
    # The adapters begin as nothing: the first loss is the model's own.
    assert heard["losses"][0] == pytest.approx(heard["expected"], rel=1e-3)
    assert heard["losses"][-1] < 0.7 * heard["losses"][0]
    assert (tmp_path / "adapter_model.safetensors").exists()
