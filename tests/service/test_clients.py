"""Clients as people have them, each from its own package: their own parsers read our answers.

`sh tests/service/clients/environments.sh` makes their environments in `.venvs`; `MOLMO_CLIENT_ENVS` names another folder.
Where one is missing its test is skipped and says so.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.service.run import Service
from tests.environments import environment
from tests.service import truth

Start = Callable[..., Service]
ROOT = Path(__file__).resolve().parents[2]
CLIENTS = Path(__file__).parent / "clients"


def client_environment(name: str) -> Path:
    made_by = "sh tests/service/clients/environments.sh"
    return environment(name, made_by, "MOLMO_CLIENT_ENVS")


def run(program: Path | str, script: str, *arguments: str) -> Any:
    quiet = {
        "no_proxy": "127.0.0.1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_API_KEY": "s3cret",
    }
    # A folder of its own: @midscene/core writes logs into where it is started.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(program), str(CLIENTS / script), *arguments],
            capture_output=True,
            text=True,
            timeout=580,
            cwd=folder,
            env={**os.environ, **quiet, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def near(place: Any, item: dict[str, Any]) -> bool:
    return bool(np.abs(np.subtract(place, item["truth"])).max() <= 1.0)


@pytest.fixture
def url(start: Start) -> str:
    service = start(truth.pointer(), zmq=False, http=True, tokens=["s3cret"])
    assert service.http is not None
    return service.http.url


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    return truth.squares(tmp_path)


@pytest.mark.parametrize("script", ["with_litellm.py", "with_langchain.py"])
def test_chat_libraries(start: Start, items: list[dict[str, Any]], script: str) -> None:
    python = client_environment("chat") / "bin/python"
    service = start(mp.load("nano"), zmq=False, http=True, tokens=["s3cret"])
    assert service.http is not None
    data = base64.b64encode(Path(items[0]["file"]).read_bytes()).decode()
    content = [
        {"type": "text", "text": "Point to the red square."},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    asked = {"messages": [{"role": "user", "content": content}]}
    heard = run(python, script, service.http.url, json.dumps(asked))
    with mp.connect(service.http.url, token="s3cret") as pointer:
        expected = pointer.ask(items[0]["file"], "Point to the red square.")
    assert (
        heard["text"] == heard["streamed"].strip() == heard.get("async", heard["text"]) == expected
    )
    assert heard["reason"] == "stop"
    counted = [expected.timing.prompt_tokens, expected.timing.new_tokens]
    assert heard["usage"] == heard["stream_usage"] == counted
    assert min(counted) > 0


def test_agent_s(url: str, items: list[dict[str, Any]]) -> None:
    python = client_environment("agent-s") / "bin/python"
    *places, absent = run(python, "with_agent_s.py", url, truth.task(items))
    assert all(near(place, item) for place, item in zip(places, items[:-1], strict=True))
    assert absent is None


def test_cua(url: str, items: list[dict[str, Any]]) -> None:
    """GTA1's parser makes (0, 0) of what it cannot read: absence must be an error there."""
    python = client_environment("cua") / "bin/python"
    heard = run(python, "with_cua.py", url, truth.task(items))
    for loop, absence in (("gta1", "BadRequestError"), ("holo", None), ("ui-tars", None)):
        *places, absent = heard[loop]
        assert all(near(place, item) for place, item in zip(places, items[:-1], strict=True)), loop
        assert absent == absence


def test_cuas_own_agent_clicks_through_our_loop(url: str, items: list[dict[str, Any]]) -> None:
    python = client_environment("cua") / "bin/python"
    *places, absent, broken = run(python, "with_cua_loop.py", url, truth.task(items))
    assert all(near(place, item) for place, item in zip(places, items[:-1], strict=True))
    assert absent is None
    assert broken == "ImageError"


@pytest.mark.parametrize("family", ["qwen3-vl", "gpt-5", "gemini"])
def test_midscene(url: str, items: list[dict[str, Any]], family: str) -> None:
    """Boxes in thousandths, boxes in pixels, boxes with y first."""
    folder = client_environment("midscene")
    heard = run("node", "with_midscene.mjs", url, truth.task(items), family, str(folder))
    *found, absent = heard
    for place, item in zip(found, items[:-1], strict=True):
        assert place["center"] is not None, place["errors"]
        assert near(place["center"], item)
    assert absent["center"] is None
    assert absent["errors"] == ["nothing in the image fits the description"]


@pytest.mark.slow
def test_label_studio(
    start: Start, items: list[dict[str, Any]], tmp_path: Path, monkeypatch: Any
) -> None:
    """Label Studio itself uploads, asks and stores; the images come out of its own storage."""
    python = client_environment("label-studio") / "bin/python"
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    home = f"http://127.0.0.1:{port}"
    service = start(truth.pointer(), zmq=False, http=True, tokens=["s3cret"], label_studio=home)
    assert service.http is not None
    wanted = items[:10]
    stored = run(
        python, "with_label_studio.py", service.http.url, truth.task(wanted), port, str(tmp_path)
    )
    for prediction, item in zip(stored, wanted, strict=True):
        width, height = item["size"]
        *points, count = prediction["result"]
        best = max(points, key=lambda region: region["score"])
        value = best["value"]
        assert near([value["x"] * width / 100, value["y"] * height / 100], item)
        assert (value["keypointlabels"], prediction["model_version"]) == (["target"], "fake")
        assert (count["value"]["number"], round(prediction["score"], 3)) == (2, 0.1)
