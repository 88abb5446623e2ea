"""The bridges to other tools, each through its example, in an environment of its own where pins conflict.

`sh agents/examples/environments.sh` makes the environments in `.venvs`; `MOLMO_ADAPTER_ENVS` names another folder. Where one is
missing its test is skipped and says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "agents" / "examples"
ENVIRONMENTS = Path(os.environ.get("MOLMO_ADAPTER_ENVS") or ROOT / ".venvs")


def python_of(name: str) -> str:
    path = ENVIRONMENTS / name / "bin" / "python"
    if not path.is_file():
        pytest.skip(f"no environment {path.parents[1]}: sh agents/examples/environments.sh")
    return str(path)


def example(python: str, name: str, *arguments: str) -> str:
    done = subprocess.run(
        [python, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=570,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_computer_tools(chromium: str) -> None:
    """Two vendors' tool calls about a smaller image press the same button; one from outside of it presses nothing."""
    said = example(sys.executable, "with_computer_tool.py")
    assert said.count("delivered on 'Add'") == 2
    assert "in the basket: 2" in said
    assert "refused: expected a coordinate inside of the 1024x640" in said


def test_gymnasium(chromium: str) -> None:
    pytest.importorskip("gymnasium", exc_type=ImportError)
    said = example(sys.executable, "with_gymnasium.py", "--episodes", "2")
    assert said.count("reward +1.0, done=True") == 2


@pytest.mark.lengthy
@pytest.mark.parametrize("server", ["", "mcp1"], ids=["mcp 2", "mcp 1"])
def test_mcp_with_both_major_versions(chromium: str, server: str) -> None:
    pytest.importorskip("mcp", exc_type=ImportError)
    arguments = ["--server-python", python_of(server)] if server else []
    said = example(sys.executable, "with_mcp.py", *arguments).splitlines()
    tools = set(said[0].removeprefix("tools: ").split(", "))
    assert tools >= {
        "look",
        "point",
        "policy",
        "open_page",
        "click",
        "press_key",
        "upload",
        "tabs",
    }
    assert said[1:] == [
        "open_page /confirm.html: delivered",
        "look: image, text",
        "point the Next button: found button Next",
        "click the Next button Next: delivered button Next",
        "click the Place order button: needs_confirmation button Place order",
        "open_page https://example.com/: blocked_origin",
    ]


def test_browsergym(chromium: str) -> None:
    """Playwright 1.44 beneath: the agent's pixels and the guarded action both solve three tasks."""
    said = example(python_of("browsergym"), "with_browsergym.py")
    assert "6 of 6 episodes rewarded" in said, said


def test_browser_use(chromium: str) -> None:
    said = example(python_of("browser-use"), "with_browser_use.py")
    assert "in the basket: 1" in said, said
