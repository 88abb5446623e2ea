"""Variables of the environment are defaults: what is typed overrides them, and they break nothing that is local."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import molmo_point
from molmo_point.errors import UsageError
from molmo_point.testing import FakePointer

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage


@pytest.fixture(autouse=True)
def answers(stage: Stage) -> None:
    stage.pointer = FakePointer({"mug": [(0.5, 0.5)]})


def test_keys_and_tokens_of_the_environment_leave_local_commands_alone(
    run: Run, stage: Stage, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLMO_POINT_KEY", "/no/such.key")
    monkeypatch.setenv("MOLMO_POINT_TOKEN", "s3cret")
    assert run("count", photo, "mug") == (0, "1\n", "")
    assert stage.opened[0][0] == "load"


def test_the_server_of_the_environment(
    run: Run, stage: Stage, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLMO_POINT_SERVER", "http://gpu:8000")
    monkeypatch.setenv("MOLMO_POINT_TOKEN", "s3cret")
    monkeypatch.setenv("MOLMO_POINT_KEY", "/no/such.key")
    run("count", photo, "mug")
    assert stage.opened.pop() == ("connect", "http://gpu:8000", {"token": "s3cret"})
    run("count", photo, "mug", "--connect", "tcp://robot:5555")
    kind, url, options = stage.opened.pop()
    assert (kind, url, list(options)) == ("connect", "tcp://robot:5555", ["key"])
    # What is typed for a model here overrides it.
    run("count", photo, "mug", "--model", "nano")
    assert stage.opened.pop()[0] == "load"
    run("count", photo, "mug", "--device", "cpu")
    assert stage.opened.pop()[0] == "load"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--key", "k.json"), "--key is for a server"),
        (("--token", "t"), "--token is for a server"),
        (("--connect", "tcp://a:1", "--token", "t"), "--token is for http:// servers"),
        (("--connect", "http://a:1", "--key", "k.json"), "--key is for tcp:// servers"),
        (("--connect", "tcp://a:1", "--device", "cpu"), "leave --device out"),
        (("--model", ""), "--model is empty"),
        (("--connect", ""), "--connect is empty"),
    ],
)
def test_what_is_typed_must_fit(
    run: Run, stage: Stage, photo: Path, words: tuple[str, ...], said: str
) -> None:
    ran = run("count", photo, "mug", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert stage.opened == []


def test_in_python_every_argument_counts_as_typed() -> None:
    from molmo_point.cli.model_options import ModelSelection

    with pytest.raises(UsageError, match="--key is for a server"):
        ModelSelection(key=Path("k.json"))


def test_a_folder_that_is_not_there_is_no_hub_name(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    ran = run("count", photo, "mug", "--model", "run/checkpoint")
    assert ran.code == 2
    assert "there is no folder run/checkpoint" in ran.err


@pytest.mark.parametrize("error", ["ImportError", "OSError", "SystemError"])
@pytest.mark.parametrize("package", ["pydantic", "numpy", "PIL", "typer", "rich"])
def test_a_broken_package_is_one_sentence(tmp_path: Path, package: str, error: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"raise {error}('its core does not load')")
    image = Path(molmo_point.__file__).parent / "nano" / "demo.png"
    ran = subprocess.run(
        [sys.executable, "-m", "molmo_point", "point", str(image), "burgers"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Traceback" not in ran.stderr
    assert f"'{package}', which is installed but cannot be loaded" in ran.stderr
    assert "its core does not load" in ran.stderr
