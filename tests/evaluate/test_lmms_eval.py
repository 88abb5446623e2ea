"""lmms-eval's own tasks with `--model molmo_point`, in the environment of `sh tests/vlm/engines/environments.sh`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

import molmo_point as mp
from tests.environments import environment

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "molmo_point/nano/demo.png"


def test_counting_and_free_space_tasks(tmp_path: Path) -> None:
    """The tasks judge what `nano` says itself: right where the truth is its answer, wrong where it is another one."""
    folder = environment("lmms-eval")
    pointing = mp.load("nano", device="cpu").point(DEMO, "burgers")
    assert pointing.count > 1
    width, height = pointing.image_size
    mask = np.zeros((height, width), np.uint8)
    for point in pointing.points:
        x, y = (int(value) for value in point.pixel(width, height))
        mask[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 255
    Image.fromarray(mask).save(tmp_path / "on.png")
    Image.fromarray(255 - mask).save(tmp_path / "off.png")
    rows = [
        {
            "image": str(DEMO),
            "question": "How many burgers are there in the image?",
            "answer": str(count),
            "mask": str(tmp_path / name),
        }
        for count, name in (
            (pointing.count, "on.png"),
            (pointing.count, "on.png"),
            (pointing.count, "on.png"),
            (pointing.count + 1, "off.png"),
        )
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    done = subprocess.run(
        [str(folder / "bin/python"), str(Path(__file__).with_name("with_lmms_eval.py")),
         str(tmp_path / "rows.json"), str(tmp_path)],
        capture_output=True, text=True, timeout=550, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics["local_count"]["acc,none"] == 0.75
    assert metrics["local_place"]["where2place_acc,none"] == 0.75
