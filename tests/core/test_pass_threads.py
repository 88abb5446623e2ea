"""Threads of torch's in a server's passes: one for small decoders, those of the caller otherwise, and restored in any case."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from molmo_point.engine import pass_threads
from molmo_point.engine.pass_threads import PassThreads


def model(decoder: int, vision: int = 0, device: str = "cpu") -> Any:
    parts = [
        SimpleNamespace(parameters=lambda size=size: [torch.empty(size, dtype=torch.uint8)])
        for size in (decoder, vision)
    ]
    return SimpleNamespace(decoder=parts[0], vision=parts[1], device=torch.device(device))


@pytest.fixture
def two_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_small_decoders_use_one_thread_and_give_the_others_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pass_threads, "SMALL_BYTES", 100)
    for small, inside in ((model(100, 999), 1), (model(101), 2), (model(1, device="meta"), 2)):
        seen = []
        with pytest.raises(RuntimeError, match="of a pass"):
            fail(PassThreads(small), seen)
        assert (seen, torch.get_num_threads()) == ([inside], 2)
        with PassThreads(small).limited(alone=True):
            assert torch.get_num_threads() == 2


def fail(threads: PassThreads, seen: list[int]) -> None:
    with threads.limited():
        seen.append(torch.get_num_threads())
        raise RuntimeError("of a pass")
