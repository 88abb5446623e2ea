"""`molmo-point serve` and `molmo-point keys`, as a user types them: a process of its own, signals, exit codes, files."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from molmo_point.cli import keys, serve
from molmo_point.client import connect
from molmo_point.errors import UsageError
from molmo_point.images import Array

# The command as it is, with a fake in place of the model that it would load.
SCRIPT = """
import sys, typer, molmo_point.api
from molmo_point.cli import serve
from molmo_point.testing import FakePointer

def load(name, **options):
    if name == "acme/broken":
        from molmo_point.errors import ModelNotFound
        raise ModelNotFound("no model has that name")
    assert name == "nano" and options["device"] == "cpu", (name, options)
    return FakePointer({"mug": [(0.25, 0.5)]})

molmo_point.api.load = load
app = typer.Typer(pretty_exceptions_enable=False)
app.callback()(lambda: None)
serve.register(app)
app()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    import os

    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "serve", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_ends_cleanly(number: signal.Signals, image: Array) -> None:
    port = free_port()
    address, http = f"tcp://127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
    process = begin(
        "nano",
        "--zmq",
        address,
        "--publish",
        "tcp://127.0.0.1:*",
        "--http",
        http,
        "--device",
        "cpu",
    )
    with connect(address, connect_timeout_s=60.0) as pointer:
        assert pointer.point(image, "mug").count == 1
    process.send_signal(number)
    output, talk = process.communicate(timeout=30)
    assert process.returncode == 0, talk
    assert output == ""
    assert address in talk
    assert f"http://{http}/" in talk
    assert "Traceback" not in talk


def test_a_model_that_is_none_ends_the_server_with_its_error() -> None:
    process = begin("acme/broken", "--zmq", "tcp://127.0.0.1:*", "--http", "off")
    _, talk = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "no model has that name" in talk


def test_a_name_that_can_be_no_model_is_refused_before_anything_listens() -> None:
    process = begin("nope", "--zmq", f"tcp://127.0.0.1:{free_port()}", "--http", "off")
    out, talk = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "no model or folder 'nope'" in talk
    assert "tcp://" not in out + talk


def invoke(command: Any, *arguments: str) -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--zmq", "tcp://0.0.0.0:5555"], "--curve-dir .*--insecure"),
        (["--zmq", "off", "--http", "0.0.0.0:0"], "--token-file"),
        (["--zmq", "off", "--http", "off"], "got neither"),
        (["--zmq", "udp://x:1"], "expected tcp://HOST:PORT"),
        (["--http", "nonsense"], "expected HOST:PORT"),
        (["--http", "127.0.0.1:99999"], "expected HOST:PORT"),
        (["--curve-dir", "/nonexistent"], "there are no keys in"),
        (["--token-file", "/nonexistent"], "cannot be read"),
    ],
)
def test_wrong_options_are_the_users_mistake(arguments: list[str], words: str) -> None:
    done = invoke(serve, "serve", *arguments)
    assert isinstance(done.exception, UsageError)
    with pytest.raises(UsageError, match=words):
        raise done.exception


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tokens_come_from_a_file_and_the_environment(
    tmp_path: Path, monkeypatch: Any, encoding: str
) -> None:
    path = tmp_path / "tokens"
    path.write_bytes("first\n# who\n\n second \n".encode(encoding))
    monkeypatch.setenv("MOLMO_POINT_TOKEN", "third")
    assert serve._tokens(path) == ("first", "second", "third")
    path.write_text("# nobody\n")
    with pytest.raises(UsageError, match="holds no token"):
        serve._tokens(path)


def test_published_answers_go_out_next_door() -> None:
    assert serve._next_port("tcp://127.0.0.1:5555") == "tcp://127.0.0.1:5556"
    assert serve._next_port("tcp://[::1]:5555") == "tcp://[::1]:5556"
    assert serve._next_port("tcp://127.0.0.1:*") == "tcp://127.0.0.1:*"
    assert serve._next_port("ipc:///tmp/x") is None


def test_keys_are_made_listed_and_used(tmp_path: Path, image: Array) -> None:
    folder = tmp_path / "keys"
    made = invoke(keys, "keys", "new", "robot1", "--dir", str(folder), "--json")
    assert made.exit_code == 0
    answer = json.loads(made.stdout)
    assert answer == {"client": "robot1", "key": str(folder / "robot1.key")}
    assert "carry" in made.stderr
    listed = json.loads(invoke(keys, "keys", "list", "--dir", str(folder), "--json").stdout)
    assert list(listed["clients"]) == ["robot1"]
    assert "robot1" in invoke(keys, "keys", "list", "--dir", str(folder)).stdout
    again = invoke(keys, "keys", "new", "robot1", "--dir", str(folder))
    assert isinstance(again.exception, UsageError)
    address = f"tcp://127.0.0.1:{free_port()}"
    process = begin("nano", "--zmq", address, "--publish", "off", "--http", "off",
                    "--curve-dir", str(folder), "--device", "cpu")  # fmt: skip
    try:
        with connect(address, key=folder / "robot1.key", connect_timeout_s=60.0) as pointer:
            assert pointer.point(image, "mug").count == 1
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_max_batch_reaches_the_engine(monkeypatch: Any) -> None:
    made: list[Any] = []
    monkeypatch.setattr(serve, "run_service", lambda service, options: made.append(service))
    addresses = ["--zmq", "tcp://127.0.0.1:*", "--http", "off"]
    done = invoke(serve, "serve", "nano", *addresses, "--max-batch", "3")
    assert done.exception is None, done.exception
    service = made[0]
    try:
        assert service.dispatcher.worker._load().scheduler().free_rows == 3
    finally:
        service.stop()
