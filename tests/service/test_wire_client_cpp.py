"""docs/wire.md is enough: a client in plain C++ that knows nothing but it, compiled and run against the server."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from molmo_point.errors import QueryError
from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer

SOURCE = Path(__file__).parents[2] / "examples" / "wire_client.cpp"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    folder = tmp_path_factory.mktemp("cpp")
    check = folder / "check.cpp"
    check.write_text(
        "#include <zmq.h>\n#if !__has_include(<nlohmann/json.hpp>)\n#error json\n#endif\n"
    )
    probe = subprocess.run(
        [compiler, "-std=c++17", "-fsyntax-only", str(check)], capture_output=True
    )
    if probe.returncode:
        pytest.skip("libzmq3-dev or nlohmann-json3-dev is not installed")
    made = folder / "wire_client"
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    built = subprocess.run(
        [compiler, *flags, str(SOURCE), "-lzmq", "-o", str(made)],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return made


def run(program: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_a_client_in_cpp(
    program: Path, start: Callable[..., Service], image: Array, tmp_path: Path, gate: Any
) -> None:
    points = [Point(x=0.25, y=0.5, label="red mug", score=0.75), Point(x=1.0, y=0.0, label="ä")]
    fake = FakePointer({"the red mug": points, "odd": QueryError("no such thing")})
    service = start(fake)
    assert service.zmq is not None
    path = tmp_path / "image.jpg"
    Image.fromarray(image).save(path)
    done = run(program, service.zmq.address, path, "the red mug")
    assert (done.returncode, done.stdout) == (0, "0.25 0.5 0.75 red mug\n1 0 - ä\n"), done.stderr
    assert run(program, service.zmq.address, path, "nothing").returncode == 3
    refused = run(program, service.zmq.address, path, "odd")
    assert refused.returncode == 1
    assert "query: no such thing (say in a few words" in refused.stderr
    text = tmp_path / "text.txt"
    text.write_text("hello")
    assert "expected a JPEG" in run(program, service.zmq.address, text, "mug").stderr
    assert run(program).returncode == 2
    waits_for_a_slow_answer(program, start, path, gate)


def waits_for_a_slow_answer(program: Path, start: Any, path: Path, gate: Any) -> None:
    """Longer than its probe: it asks again meanwhile and is answered once."""
    slow = start(gate)
    process = subprocess.Popen(
        [str(program), slow.zmq.address, str(path), "mug"], stdout=subprocess.PIPE, text=True
    )
    assert gate.entered.acquire(timeout=20)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        time.sleep(0.05)
    gate.open_.set()
    output, _ = process.communicate(timeout=20)
    assert output == "0.5 0.5 - mug\n"
    assert len(gate.calls) == 1
