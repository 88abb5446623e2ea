"""Nonsense and sudden death, small: the full sizes are `benchmarks/soak.py`, the code is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def soak(*arguments: str, timeout_s: float = 300.0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SOAK), *arguments], capture_output=True, text=True, timeout=timeout_s
    )
    assert done.stdout, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.lengthy
def test_spoilt_messages_are_survived_and_good_ones_answered_in_between() -> None:
    result = soak("mutate", "--messages", "20000")
    assert result["alive"], result
    assert result["wrong answers"] == 0, result
    assert result["good questions answered"] == 100, result
    assert result["growth"] <= 0.10, result
    assert result["replies and refusals"] > 15_000, result


def test_a_server_killed_three_times_answers_every_question_once() -> None:
    result = soak("restart", "--clients", "8", "--requests", "50", "--kills", "3")
    assert result["outcomes"] == {"right": 400}, result


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_memory_stays_where_it_was() -> None:
    result = soak("steady", "--minutes", "8", timeout_s=1000.0)
    assert result["growth"] <= 0.05, result
