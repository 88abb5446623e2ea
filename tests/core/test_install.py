"""The pip line of a message for each kind of installation, and errors for failed imports."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path

import pytest
from molmo_calibration import imports

from molmo_point import install
from molmo_point.errors import BrokenInstall, MissingExtra


class _Installed:
    def __init__(self, source: object) -> None:
        self._text = json.dumps(source) if source is not None else None

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self._text


def _install_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: object) -> None:
    """Pretend that the running code lies in a site-packages folder and was installed from `source`."""
    monkeypatch.setattr(install, "__file__", str(tmp_path / "site" / "molmo_point" / "install.py"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: _Installed(source))


def test_a_checkout_names_its_folder() -> None:
    root = Path(install.__file__).parents[1]
    assert install.install_line("engine") == f'pip install -e "{root}[engine]"'
    assert install.install_line() == f'pip install -e "{root}"'


def test_a_git_address_is_given_back_with_its_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = {
        "url": "https://example.org/molmo-point.git",
        "vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": "0" * 40},
    }
    _install_from(monkeypatch, tmp_path, source)
    expected = 'pip install "molmo-point[serve] @ git+https://example.org/molmo-point.git@main"'
    assert install.install_line("serve") == expected


def test_a_local_git_repository_has_a_host_in_its_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pip records file:///, which its versions before 24.1 refuse in a requirement."""
    source = {"url": "file:///srv/molmo-point.git", "vcs_info": {"vcs": "git"}}
    _install_from(monkeypatch, tmp_path, source)
    expected = 'pip install "molmo-point[serve] @ git+file://localhost/srv/molmo-point.git"'
    assert install.install_line("serve") == expected
    monkeypatch.setattr(
        imports, "__file__", str(tmp_path / "site" / "molmo_calibration" / "imports.py")
    )
    assert imports.install_line() == expected.replace("serve", "calibration")


def test_a_local_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "my checkout"
    folder.mkdir()
    _install_from(monkeypatch, tmp_path, {"url": folder.as_uri(), "dir_info": {}})
    assert install.install_line("bag") == f'pip install -e "{folder}[bag]"'


def test_an_index_needs_the_name_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _install_from(monkeypatch, tmp_path, None)
    assert install.install_line("bag") == 'pip install "molmo-point[bag]"'


def _failure(name: str) -> MissingExtra | BrokenInstall:
    try:
        importlib.import_module(name)
    except ImportError as error:
        return install.import_failure(error, name, "engine", "Counting")
    raise AssertionError(f"{name} could be imported")


def test_what_is_not_there_is_missing() -> None:
    failure = _failure("no_such_package_at_all")
    assert isinstance(failure, MissingExtra)
    assert "Counting needs the package 'no_such_package_at_all', which is not installed" in str(
        failure
    )


def test_a_package_that_lacks_a_system_library_is_broken_not_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_package.py").write_text(
        'raise ImportError("libGL.so.1: cannot open shared object file")'
    )
    monkeypatch.syspath_prepend(tmp_path)
    failure = _failure("broken_package")
    assert isinstance(failure, BrokenInstall)
    assert "not installed" not in str(failure)
    assert "libGL.so.1" in str(failure)


def test_a_package_whose_own_dependency_is_missing_names_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "half_package.py").write_text("import its_missing_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    failure = _failure("half_package")
    assert isinstance(failure, MissingExtra)
    assert "'its_missing_dependency'" in str(failure)
    sys.modules.pop("half_package", None)
