"""Every call that returns a text gives its finish reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.engine.local import LocalPointer
from molmo_point.engine.view import run_to_end
from molmo_point.points import FinishReason, Text

TINY = Path(__file__).parents[1] / "golden" / "models" / "tiny-d"
IMAGE = np.full((80, 80, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def short() -> LocalPointer:
    return mp.load(TINY, max_new_tokens=4)


def scheduled(pointer: LocalPointer, timeout_s: float | None) -> object:
    scheduler = pointer.scheduler()
    scheduler.add("a", IMAGE, "What is this?", kind="text", timeout_s=timeout_s)
    results = [None]
    while scheduler.has_work:
        results += [output.result for output in scheduler.step()]
    return results[-1]


WAYS: dict[str, Callable[[LocalPointer, float | None], object]] = {
    "ask": lambda p, t: p.ask(IMAGE, "What is this?", timeout_s=t),
    "view": lambda p, t: p.open(IMAGE).ask("What is this?", timeout_s=t),
    "stream": lambda p, t: run_to_end(p.stream_text(IMAGE, "What is this?", timeout_s=t)),
    "view stream": lambda p, t: run_to_end(
        p.open(IMAGE).stream_text("What is this?", timeout_s=t)
    ),
    "no image": lambda p, t: run_to_end(p.stream_text(None, "What is this?", timeout_s=t)),
    "scheduler": scheduled,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("timeout_s", "reason"), [(None, FinishReason.LENGTH), (0.0, FinishReason.TIMEOUT)]
)
def test_a_text_that_was_cut_says_so(
    short: LocalPointer, way: str, timeout_s: float | None, reason: FinishReason
) -> None:
    text = WAYS[way](short, timeout_s)
    assert isinstance(text, Text)
    assert text.finish_reason is reason
    assert not text.complete


def test_a_text_that_the_model_ended_is_whole() -> None:
    text = mp.load("nano").ask(IMAGE, "Point to the zebra.")
    assert isinstance(text, Text)
    assert text.complete


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_each_id_of_eos_token_id_ends_an_answer(tmp_path: Path, file: str) -> None:
    """Every id is an end here, so that the first token of any answer is one, whichever it is."""
    folder = shutil.copytree(TINY, tmp_path / "tiny")
    keys = json.loads((folder / file).read_text(encoding="utf-8"))
    keys["eos_token_id"] = list(range(keys.get("vocab_size", 300)))
    (folder / file).write_text(json.dumps(keys), encoding="utf-8")
    pointer = mp.load(folder, max_new_tokens=4)
    for way, ask in WAYS.items():
        text = ask(pointer, None)
        assert isinstance(text, Text), way
        assert (str(text), text.finish_reason, text.timing.new_tokens) == ("", "stop", 1), way
