"""Foreign engines as they are: transformers' own server in a process of its own, and Qwen-VL and Molmo 2 in this one.

`sh tests/vlm/engines/environments.sh` makes their environment in `.venvs`; `MOLMO_ENGINE_ENVS` names another folder. Where it is
missing the tests are skipped and say so.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import molmo_point as mp
from molmo_point.errors import ModelNotFound, PointError, ServerGone, UsageError
from molmo_point.points import FinishReason, Status
from tests.environments import environment

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "engines"
MOLMO2 = ROOT / "tests/golden/molmo2"
MOLMO2_CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<|image|>{% endif %}"
    "{% endfor %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""One image and one text, as `tests/golden/molmo2/format` has them."""


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("transformers-serve") / "bin/python"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100x60 pixels, which Qwen2.5-VL resizes to 112x56."""
    path = tmp_path_factory.mktemp("image") / "table.png"
    pixels = np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def run(python: Path, script: str, *arguments: object) -> str:
    done = subprocess.run(
        [str(python), str(SCRIPTS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def checkpoint(python: Path, image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny-qwen2.5-vl"
    run(python, "tiny_checkpoint.py", folder, image)
    return folder


@pytest.fixture(scope="module")
def server(
    python: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "server.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(python), "-m", "transformers.cli.transformers", "serve", str(checkpoint),
             "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"],
            stdout=output, stderr=output, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"openai+http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server does not answer: {log.read_text()[-2000:]}")


def test_a_real_server_points_and_says_what_is_not_there(server: str, image: Path) -> None:
    with mp.connect(server, timeout_s=120) as pointer:
        found = pointer.point(image, "mug", frame_id="cam")
        absent = pointer.point(image, "dog")
        streamed = list(pointer.stream(image, "mug"))
    assert (found.status, found.count, found.frame_id) == (Status.FOUND, 1, "cam")
    point = found.points[0]
    assert (point.x, point.y, point.label) == (0.5, 0.25, "mug")
    # This server sends no log-probabilities.
    assert (point.score, found.calibrated, found.image_size) == (None, False, (100, 60))
    assert (absent.status, absent.text) == (Status.NOT_FOUND, "[]")
    assert (streamed[0].x, streamed[0].y) == (0.5, 0.25)
    assert found.timing.new_tokens >= len(found.text)
    assert found.timing.prompt_tokens > 100


def test_a_real_server_that_stops_at_a_limit_is_heard(server: str, image: Path) -> None:
    with mp.connect(server, timeout_s=120, max_tokens=12) as pointer:
        cut = pointer.point(image, "mug")
    with mp.connect(server, timeout_s=120, max_tokens=1) as pointer:
        text = pointer.ask(image, "What is this?")
    assert (cut.status, cut.points) == (Status.TRUNCATED, ())
    assert text.finish_reason is FinishReason.LENGTH  # type: ignore[attr-defined]


def test_errors_of_a_real_server(server: str, image: Path) -> None:
    with pytest.raises(ModelNotFound, match="no model 'gpt-9'"):
        mp.connect(server, model="gpt-9")
    with pytest.raises(ServerGone):
        mp.connect("openai+http://127.0.0.1:9/v1", connect_timeout_s=2)
    with mp.connect(server, timeout_s=120) as pointer:
        pointer.model = "another"
        with pytest.raises(UsageError, match="pinned"):
            pointer.point(image, "mug")
        with pytest.raises(PointError):
            pointer.point(b"no image", "mug")


def test_the_same_checkpoint_in_this_package(python: Path, checkpoint: Path, image: Path) -> None:
    """transformers' own processor, torchvision's resampling: the server's answers, with scores."""
    out = run(python, "ask_in_process.py", checkpoint, image, "point", "mug", "dog")
    found, absent = json.loads(out.splitlines()[-1])
    (point,) = found["points"]
    assert (point["x"], point["y"], found["status"]) == (0.5, 0.25, "found")
    assert 0.5 < point["score"] <= 1.0
    assert absent["status"] == "not_found"


def test_molmo2_of_transformers_writes_the_golden_tokens(python: Path, tmp_path: Path) -> None:
    """The tokens that our own engine writes (tests/core/test_molmo2_engine.py)."""
    folder = tmp_path / "tiny2-q"
    shutil.copytree(MOLMO2 / "models/tiny2-q", folder)
    (folder / "chat_template.jinja").write_text(MOLMO2_CHAT)
    golden: dict[str, Any] = np.load(folder / "golden.npz")
    tokens = golden["img1_640x480/greedy24"].tolist()
    out = run(
        python, "ask_in_process.py", folder, MOLMO2 / "images/img1_640x480.png",
        "ask", "Point to the red circle",
    )  # fmt: skip
    (text,) = json.loads(out.splitlines()[-1])
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    special = {entry["id"]: entry["content"] for entry in vocabulary["added_tokens"]}
    data = b"".join(special[t].encode() if t in special else bytes([t]) for t in tokens)
    assert text.startswith(data.decode("utf-8", "replace"))
