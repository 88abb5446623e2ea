"""The runtime part needs numpy and nothing else, and the package does not know its sibling."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import molmo_calibration
import pytest

PACKAGE = pathlib.Path(molmo_calibration.__file__).parent

RUNTIME = (
    "Camera, DepthImage, FrameGraph, Plane, Transform, View, depth_at, fit_plane, intersect_plane, "
    "intersect_mesh, lift, map_camera, resize, triangulate, uv_from_norm"
)


def modules_after(code: str) -> set[str]:
    script = f"import sys; before = set(sys.modules); {code}; print(*(set(sys.modules) - before))"
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    return {name.split(".")[0] for name in run.stdout.split()}


def test_the_runtime_part_loads_numpy_alone() -> None:
    third = modules_after(f"from molmo_calibration import {RUNTIME}") - set(
        sys.stdlib_module_names
    )
    assert {name for name in third if not name.startswith("_")} == {"numpy", "molmo_calibration"}


def test_importing_the_package_loads_next_to_nothing() -> None:
    assert "numpy" not in modules_after("import molmo_calibration")


def test_every_public_name_is_there() -> None:
    for name in molmo_calibration.__all__:
        assert getattr(molmo_calibration, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        molmo_calibration.nothing  # noqa: B018


def test_the_package_does_not_know_molmo_point() -> None:
    pattern = re.compile(r"^\s*(from|import)\s+molmo_(point|agents)\b", re.MULTILINE)
    assert not [path for path in PACKAGE.rglob("*.py") if pattern.search(path.read_text())]
    assert not (PACKAGE.parent / "__init__.py").exists()


def test_no_file_is_longer_than_a_file_should_be() -> None:
    long = {
        p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400
    }
    assert long == {}
