"""The house stands: import contracts hold, the light half is light, the wheel holds what it should and nothing else."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import grimp
import pytest

from molmo_point.install import install_line
from molmo_point.version import __version__

ROOT = Path(__file__).parents[2]
PACKAGES = ("molmo_point", "agents/molmo_agents", "calibration/molmo_calibration")
HEAVY = ("torch", "transformers", "cv2", "scipy", "fastapi", "playwright", "matplotlib", "typer")


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "molmo_point",
        "molmo_point.testing",
        "molmo_point.markup",
        "molmo_point.wire",
        "molmo_point.client",
        "molmo_point.convert",
        "molmo_point.api",
        "molmo_point.checkpoints.hub",
        "molmo_calibration",
    ],
)
def test_light_half_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert python(code).strip() == "[]"


def test_missing_torch_names_the_pip_line() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import molmo_point as mp\n"
        "try: mp.load('nano')\n"
        "except mp.PointError as error: print(error)"
    )
    assert install_line("engine") in python(code)


def test_import_contracts() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_circle_of_imports() -> None:
    """Imports for types and inside functions count; the packages' own `__init__`, which name everything for users, do not."""
    roots = ("molmo_point", "molmo_agents", "molmo_calibration", "molmo_robot", "molmo_point_ros")
    graph = grimp.build_graph(*roots, exclude_type_checking_imports=False)
    imports = {
        name: graph.find_modules_directly_imported_by(name) - {name} for name in graph.modules
    }
    assert len(imports) > 700
    order = graphlib.TopologicalSorter({name: imports[name] for name in imports.keys() - roots})
    try:
        order.prepare()
    except graphlib.CycleError as circle:
        pytest.fail(f"a circle of imports: {' <- '.join(circle.args[1])}")


def test_one_version() -> None:
    """colcon reads the versions of the workspace's packages as text: they are the one in `molmo_point/version.py`."""
    texts = [*ROOT.glob("ros2_ws/src/*/package.xml"), *ROOT.glob("ros2_ws/src/*/setup.py")]
    found = {
        path.relative_to(ROOT).as_posix(): re.findall(
            r'<version>(.*?)</version>|\bversion="(.*?)"', path.read_text()
        )
        for path in texts
    }
    assert len(found) == 5
    assert {"".join(version) for versions in found.values() for version in versions[-1:]} == {
        __version__
    }, found


def test_wheel_holds_the_packages_and_the_model(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {
        "molmo_point",
        "molmo_agents",
        "molmo_calibration",
        "molmo_robot",
        "molmo_point_ros",
    }
    assert "molmo_point/nano/model.safetensors" in names
    assert "molmo_point/py.typed" in names


def test_no_init_file_makes_a_folder_an_import_name() -> None:
    assert not (ROOT / "agents" / "__init__.py").exists()
    assert not (ROOT / "calibration" / "__init__.py").exists()


def test_files_and_functions_stay_readable() -> None:
    """Files of at most 360 lines, functions of at most 70: the numbers of CONTRIBUTING.md."""
    long = []
    for package in (*PACKAGES, "ros2_ws/src"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if text.count("\n") > 360:
                long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    length = (node.end_lineno or 0) - node.lineno + 1
                    if length > 70:
                        long.append(f"{path.relative_to(ROOT)}:{node.name}: {length} lines")
    assert long == []


def test_no_module_needs_more_of_numpy_than_its_floor_has() -> None:
    """numpy 1.21 cannot subscript its own types when a module is loaded: aliases are `NDArray[...]`, or text."""
    found = []
    for package in (*PACKAGES, "ros2_ws/src"):
        for path in (ROOT / package).rglob("*.py"):
            for statement in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(statement, ast.Assign):
                    found += [
                        f"{path.relative_to(ROOT)}:{node.lineno}"
                        for node in ast.walk(statement.value)
                        if isinstance(node, ast.Subscript)
                        and ast.unparse(node.value) in ("np.ndarray", "np.dtype", "np.floating")
                    ]
    assert found == []


def test_what_benchmarks_and_examples_import_of_ours_is_there() -> None:
    """No type checker reads them, and most are run by hand."""
    missing = []
    for folder in ("benchmarks", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.ImportFrom) or node.module is None:
                    continue
                if not node.module.startswith(("molmo_", "benchmarks")):
                    continue
                try:
                    found = importlib.util.find_spec(node.module) is not None
                except ModuleNotFoundError:
                    found = False
                if not found:
                    missing.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.module}")
    assert missing == []
