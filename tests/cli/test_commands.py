"""The other commands, the tree of them, and what loading it costs."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import typer
from PIL import Image

from molmo_point import __version__
from molmo_point.cli import app, doctor_checks, exit_codes
from molmo_point.install import install_line
from molmo_point.testing import FakePointer

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage


def test_help_lists_the_commands_and_loads_nothing_heavy() -> None:
    """In a process of its own, because this one has everything loaded."""
    code = (
        "import sys; from molmo_point.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as left: assert left.code == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'cv2', 'zmq', 'fastapi', 'transformers'} & set(sys.modules)\n"
        "sys.stderr.write(','.join(heavy))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stderr == ""
    for command in ("point", "count", "ask", "models", "doctor", "demo"):
        assert f" {command} " in ran.stdout


def test_the_console_script() -> None:
    script = shutil.which("molmo-point", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("molmo-point is not installed in this environment")
    ran = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{__version__}\n", "")
    ran = subprocess.run(
        [script, "point", "gone.png", "mug"], capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "molmo-point: there is no file gone.png: check the path\n"


def test_every_command_has_help(run: Run) -> None:
    for command in ("point", "count", "ask", "models", "doctor", "demo"):
        ran = run(command, "--help")
        assert ran.code == 0
        assert "--help" in ran.out


def test_extensions_are_included_where_they_exist(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("molmo_point.cli.waltz")
    module.__spec__ = type("Spec", (), {})()  # type: ignore[assignment]

    def register(tree: typer.Typer) -> None:
        @tree.command()
        def waltz() -> None:
            typer.echo("one two three")

    module.register = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "molmo_point.cli.waltz", module)
    monkeypatch.setattr(
        app, "COMMANDS", {name: app.Command("serve") for name in ("waltz", "tango")}
    )
    assert run("waltz") == (0, "one two three\n", "")
    assert run("tango").code == 2


def test_an_extension_without_its_packages_says_what_to_type(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("molmo_point.cli.waltz")
    module.__spec__ = type("Spec", (), {})()  # type: ignore[assignment]

    def register(tree: typer.Typer) -> None:
        raise ModuleNotFoundError("No module named 'violin'", name="violin")

    module.register = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "molmo_point.cli.waltz", module)
    monkeypatch.setattr(app, "COMMANDS", {"waltz": app.Command("serve")})
    ran = run("waltz", "--fast", "now")
    assert ran.code == 2
    assert "needs the package 'violin'" in ran.err
    assert install_line("serve") in ran.err
    assert "(needs the extra 'serve')" in run("--help").out


def test_models(run: Run) -> None:
    ran = run("models")
    assert ran.code == 0
    for words in (
        "nano",
        "molmo-7b-d",
        "allenai/Molmo-72B-0924",
        "8.02 B",
        "32.1 GB",
        "16.0 GB",
        "Apache-2.0",
    ):
        assert words in ran.out
    rows = {row["name"]: row for row in map(json.loads, run("models", "--json").out.splitlines())}
    assert len(rows) == 12
    assert rows["molmo-7b-d"]["parameters"] == 8_021_025_280
    assert rows["molmo-7b-d"]["memory_bytes"]["bfloat16"] == 2 * 8_021_025_280
    assert rows["molmoe-1b"]["active_parameters"] < rows["molmoe-1b"]["parameters"]
    # Counted in the file that comes along.
    assert 1e6 < rows["nano"]["parameters"] < 25e6
    assert rows["nano"]["memory_bytes"]["float32"] == 4 * rows["nano"]["parameters"]


def test_models_that_fit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fitting(gigabytes: float | None) -> dict[str, list[str]]:
        total = None if gigabytes is None else int(gigabytes * 1e9)
        monkeypatch.setattr("molmo_point.machine_memory.machine_bytes", lambda: total)
        rows = [json.loads(line) for line in run("models", "--json").out.splitlines()]
        return {row["name"]: [d for d, fit in row["fits"].items() if fit] for row in rows}

    assert fitting(16)["molmo-7b-d"] == []
    assert fitting(24)["molmo-7b-d"] == ["bfloat16"]
    assert fitting(40)["molmo-7b-d"] == ["float32", "bfloat16"]
    assert fitting(40)["molmo-72b"] == []
    assert fitting(4)["nano"] == ["float32", "bfloat16"]
    assert set(map(tuple, fitting(None).values())) == {()}
    assert "?" in run("models").out


def test_memory_is_the_containers_where_that_is_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molmo_point import machine_memory as memory

    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CGROUPS", (limit, tmp_path / "gone"))
    limit.write_text("max\n")
    whole = memory.machine_bytes()
    assert whole is not None
    assert whole > 2**28
    limit.write_text("100000000\n")
    assert memory.machine_bytes() == 100_000_000
    limit.write_text(str(2**63 - 4096))
    assert memory.machine_bytes() == whole


def test_models_that_are_here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--allenai--MolmoE-1B-0924/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "tokenizer.json").write_text("{}")
    rows = {row["name"]: row for row in map(json.loads, run("models", "--json").out.splitlines())}
    assert rows["molmoe-1b"]["folder"] is None  # no weights yet
    (snapshot / "model.safetensors").touch()
    rows = {row["name"]: row for row in map(json.loads, run("models", "--json").out.splitlines())}
    assert rows["molmoe-1b"]["folder"] == str(snapshot)
    assert rows["molmo-72b"]["folder"] is None


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "nano"
    folder.mkdir()
    Image.new("RGB", (320, 240), (200, 180, 160)).save(folder / "demo.png")
    (folder / "demo.json").write_text(json.dumps({"query": "star"}))
    monkeypatch.setattr("molmo_point.checkpoints.catalog.NANO_FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_demo(run: Run, stage: Stage, scene: Path, tmp_path: Path) -> None:
    stage.pointer = FakePointer({"star": [(0.5, 0.25)]})
    ran = run("demo", "--out", "shown.png")
    assert ran.code == 0
    assert "demo.png: 1 × star" in ran.out
    assert "molmo-point point YOUR.jpg" in ran.err
    assert ran.err.count("\n") == 1
    assert Image.open(tmp_path / "shown.png").size == (640, 480)
    assert stage.opened[0][:2] == ("load", "nano")
    stage.pointer = FakePointer()
    assert run("demo").code == 1


def test_demo_without_its_image(run: Run, stage: Stage, scene: Path) -> None:
    (scene / "demo.png").unlink()
    ran = run("demo")
    assert ran.code == 2
    assert "install molmo-point again" in ran.err


def test_doctor(run: Run, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setattr(doctor_checks, "PORTS", {"zmq": server.getsockname()[1], "http": 1})
        ran = run("doctor", "--json")
    checks = {check["name"]: check for check in map(json.loads, ran.out.splitlines())}
    assert ran.code == 0
    assert checks["molmo-point"]["detail"] == __version__
    assert checks["nano"]["state"] == "ok"
    assert "loads in" in checks["nano"]["detail"]
    assert stage.pointer.closed
    states = [check["detail"] for name, check in checks.items() if name.startswith("port ")]
    assert states == ["something answers there", "free"]
    assert "GB free" in checks["hub cache"]["detail"]
    table = run("doctor", "--no-point").out
    assert "what to do" in table
    assert "nano" not in table.split("hub cache")[0].split("platform")[0]


def test_doctor_finds_what_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "importlib.metadata.requires",
        lambda _: [
            "numpy>=1.21",
            'rich>=13; extra == "cli"',
            'no-such-package>=2; extra == "dance"',
            'molmo-point[cli]; extra == "dance"',
            'pytest; extra == "dev"',
        ],
    )
    assert doctor_checks.required_packages() == {
        "cli": {"rich"},
        "dance": {"no-such-package", "rich"},
    }
    checks = {check.name: check for check in doctor_checks.extras()}
    assert checks["extra cli"].state == "ok"
    assert checks["extra dance"].state == "missing"
    assert checks["extra dance"].detail == "lacks no-such-package"
    assert checks["extra dance"].advice == install_line("dance")


def test_doctor_fails_when_nano_does(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from molmo_point.errors import CheckpointError

    def load(*_: object, **__: object) -> None:
        raise CheckpointError("the weights are gone")

    monkeypatch.setattr("molmo_point.api.load", load)
    ran = run("doctor", "--json")
    assert ran.code == 1
    (nano,) = [check for check in map(json.loads, ran.out.splitlines()) if check["name"] == "nano"]
    assert (nano["state"], nano["detail"]) == ("failed", "the weights are gone")


def test_exit_codes_are_the_published_ones() -> None:
    assert (exit_codes.FOUND, exit_codes.FAILED, exit_codes.MISTAKE, exit_codes.NOTHING) == (
        0,
        1,
        2,
        3,
    )
