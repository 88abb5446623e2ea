"""Run the command line in this process, with a fake pointer behind `load` and `connect`."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from molmo_point import api, cli
from molmo_point.testing import FakePointer


class Ran(NamedTuple):
    """What one command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@dataclass
class Stage:
    """The fakes that the commands meet.

    Attributes:
        pointer: What `load` and `connect` return.
        opened: ("load" or "connect", name, options) of each call.
    """

    pointer: FakePointer = field(default_factory=FakePointer)
    opened: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()

    def load(name: str = "nano", **options: Any) -> FakePointer:
        stage.opened.append(("load", str(name), options))
        return stage.pointer

    def connect(url: str, **options: Any) -> FakePointer:
        stage.opened.append(("connect", url, options))
        return stage.pointer

    monkeypatch.setattr(api, "load", load)
    monkeypatch.setattr(api, "connect", connect)
    return stage


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*words: str | Path, stdin: bytes | None = None) -> Ran:
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(int(left.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An image of 80 x 60 pixels."""
    path = tmp_path / "table.png"
    pixels = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path
