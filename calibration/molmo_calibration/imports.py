"""Import optional libraries on first use; missing or broken ones raise errors with the pip line.

A library that is not installed is one mistake, one that is installed and does not load (a shared
library is missing, another version is) another: installing it again does not help there.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from molmo_calibration.errors import BrokenLibraryError, MissingExtraError

_DISTRIBUTION = "molmo-point"
_LIBRARIES = {"cv2": "OpenCV", "scipy": "SciPy", "yaml": "PyYAML"}


def opencv(purpose: str) -> Any:
    """The cv2 module; see `import_library`."""
    return import_library("cv2", purpose)


def import_library(module: str, purpose: str, install: str | None = None) -> Any:
    """A module that is not needed by all of this package.

    Args:
        module: its name for Python, e.g. "cv2" or "scipy.optimize".
        purpose: what needs it; the subject of the message.
        install: the pip line, if not that of the `calibration` extra.

    Raises:
        MissingExtraError: it is not installed.
        BrokenLibraryError: it is installed, but cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        library = _LIBRARIES.get(package, package)
        line = install or install_line()
        lacking = isinstance(error, ModuleNotFoundError) and not _installed(error.name or package)
        if lacking or not _installed(package):
            raise MissingExtraError(library, purpose, line) from error
        raise BrokenLibraryError(library, purpose, error, line) from error


def install_line() -> str:
    """The pip line that adds what calibrating needs, from where this package was installed.

    A checkout or a local folder is named by its folder, an install from a git address by that.
    """
    origin = _origin()
    if origin is None:
        return f'pip install "{_DISTRIBUTION}[calibration]"'
    if origin.startswith("git+"):
        return f'pip install "{_DISTRIBUTION}[calibration] @ {origin}"'
    return f'pip install -e "{origin}[calibration]"'


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package.split(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _origin() -> str | None:
    """The folder or git address of the running code; None for a package index."""
    tree = Path(__file__).resolve().parents[2]
    if (tree / "pyproject.toml").is_file():
        return str(tree)
    try:
        text = importlib.metadata.distribution(_DISTRIBUTION).read_text("direct_url.json")
        source = json.loads(text or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    url = str(source.get("url", ""))
    if "vcs_info" in source:
        wanted = source["vcs_info"].get("requested_revision")
        # pip before 24.1 takes no file URL without a host.
        url = url.replace("file:///", "file://localhost/", 1)
        return f"git+{url}" + (f"@{wanted}" if wanted else "")
    folder = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
    return str(folder) if folder is not None and folder.is_dir() else None
