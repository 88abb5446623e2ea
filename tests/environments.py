"""Environments of foreign tools, whose pins conflict with ours or with each other's: scripts make them, tests use them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINES = "sh tests/vlm/engines/environments.sh"


def environment(name: str, made_by: str = ENGINES, variable: str = "MOLMO_ENGINE_ENVS") -> Path:
    """Return the folder of an environment that is ready; skip the test, with its reason, where there is none.

    Args:
        made_by: What makes it, for the reason.
        variable: Names the folder of all environments in the place of `.venvs`.
    """
    folder = Path(os.environ.get(variable) or ROOT / ".venvs").resolve() / name
    if not (folder / ".ready").exists():
        pytest.skip(f"no environment {folder}: {made_by}")
    return folder
