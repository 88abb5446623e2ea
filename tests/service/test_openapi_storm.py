"""Schemathesis throws requests at every endpoint that the OpenAPI description names: none may end in a 500."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from molmo_point.service.run import Service
from molmo_point.testing import FakePointer

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"


def storm(start: Callable[..., Service], *options: str) -> None:
    pointer = FakePointer({"mug": [(0.25, 0.5)]}, texts={"hello": "good day"})
    service = start(pointer, zmq=False, http=True)
    assert service.http is not None
    program = str(Path(sys.executable).parent / "schemathesis")
    place = f"{service.http.url}/openapi.json"
    command = [program, "run", place, "--checks", CHECKS, "--request-timeout", "10", "--no-color"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert len(pointer.calls) > 0, "no request got as far as the model"


def test_no_request_makes_the_server_fail(start: Callable[..., Service]) -> None:
    storm(start, "--phases", "examples,fuzzing", "--max-examples", "10", "--seed", "1")


@pytest.mark.slow
@pytest.mark.timeout(3100)
def test_no_request_of_very_many_makes_the_server_fail(start: Callable[..., Service]) -> None:
    storm(start, "--max-examples", "200")
