"""`molmo-point finetune` and `merge`: from a file of labels to a checkpoint that points, and mistakes named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

TWIN = Path(__file__).parents[1] / "golden" / "models" / "tiny-d"
ONCE = ("--evaluate-every", "2")
SHORT = ("--steps", "2", "--batch", "2", "--rank", "2", "--workers", "0", "--held-out", "0.1")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = []
    for index in range(4):
        image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f"{index}.png")
        lines.append({"image": f"{index}.png", "query": "mugs", "points": [[10, 20 + index]]})
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_labels_become_an_adapter_and_that_a_checkpoint(
    run: Any, labels: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    stopped = run(
        "finetune", TWIN, "--data", labels, "--out", out, *SHORT, *ONCE, "--stop-after", "1"
    )
    assert (stopped.code, stopped.out) == (1, "")
    assert "the same command resumes" in stopped.err
    ran = run("finetune", TWIN, "--data", labels, "--out", out, *SHORT, *ONCE)
    assert (ran.code, ran.out.strip()) == (0, str(out / "best"))
    assert "held out" in ran.err
    row = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert row["step"] == 2
    assert "held_out_f1" in row
    merged = run("merge", TWIN, out / "best", tmp_path / "merged", "--json", "--quiet")
    assert json.loads(merged.out) == {"folder": str(tmp_path / "merged"), "tensors": 50}
    asked = run("point", labels.parent / "0.png", "mug", "--model", tmp_path / "merged", "--json")
    assert asked.code in (0, 1, 3)
    image = labels.parent / "0.png"
    adapted = run("point", image, "mug", "--model", TWIN, "--adapter", out / "best", "--json")
    answers = [json.loads(text.out)["text"] for text in (asked, adapted)]
    assert (
        answers[0]
        == answers[1]
        != json.loads(run("point", image, "mug", "--model", TWIN, "--json").out)["text"]
    )
    refused = run("point", labels.parent / "0.png", "mug", "--model", out / "best")
    assert refused.code == 2
    assert "molmo-point merge" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "waltz"), "--method: Input should be 'lora' or 'all'"),
        (("--parts", "wheels"), "--parts.0: Input should be 'vision'"),
        (("--parts", "vision,vision"), "each once"),
        (("--method", "all", "--weights", "bfloat16"), "trained in float32"),
        (("--rate", "0"), "nothing is trained"),
        (("--data", "labels.jsonl=-1"), "a weight above 0"),
        (("--batch", "0"), "--batch"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    run: Any, labels: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "run"
    ran = run("finetune", TWIN, "--data", labels, "--out", out, *SHORT, *words)
    assert ran.code == 2
    assert said in ran.err
    assert not (out / "state.safetensors").exists()


def test_bad_labels_are_counted(run: Any, labels: Path, tmp_path: Path) -> None:
    bad = {"image": "0.png", "query": "mugs", "points": [[65, 20]]}
    with labels.open("a") as file:
        file.write(json.dumps(bad) + "\n")
    out = tmp_path / "run"
    ran = run("finetune", TWIN, "--data", labels, "--out", out, *SHORT)
    assert ran.code == 2
    assert "labels.jsonl, annotation 5: the point (65, 20) lies outside" in ran.err
    assert not out.exists()
    ran = run(
        "finetune",
        TWIN,
        "--data",
        labels,
        "--out",
        out,
        *SHORT,
        *ONCE,
        "--skip-bad",
        "--stop-after",
        "1",
    )
    assert ran.code == 1
    assert "labels.jsonl: 1 entry left out" in ran.err
