"""How this package was installed, and so which pip line adds an optional part of it; what a failed import means."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from molmo_point.errors import BrokenInstall, MissingExtra

DISTRIBUTION = "molmo-point"


def install_line(extra: str = "") -> str:
    """Return the pip line that installs the package with `extra` from where it came from.

    An editable or local install names its folder, an install from a git address that address, a source tree that is only on
    the path (PYTHONPATH, a ROS workspace) its folder. Only an install from an index names the package alone.
    """
    extras = f"[{extra}]" if extra else ""
    origin = _origin()
    if origin is None:
        return f'pip install "{DISTRIBUTION}{extras}"'
    if origin.startswith("git+"):
        return f'pip install "{DISTRIBUTION}{extras} @ {origin}"'
    return f'pip install -e "{origin}{extras}"'


def missing(package: str, extra: str, purpose: str) -> MissingExtra:
    """Return the error for a package that is not installed."""
    return MissingExtra(package, purpose, install_line(extra))


def import_failure(
    error: ImportError, package: str, extra: str, purpose: str
) -> MissingExtra | BrokenInstall:
    """Return the error that says why `package` could not be imported: it is missing, or it is there and does not load.

    Args:
        error: What the import raised.
        package: The import name that was asked for, such as "cv2".
        extra: The optional part of this package that brings it.
        purpose: What needs it; the subject of the message.
    """
    if _find(package) is None:
        return missing(package, extra, purpose)
    if isinstance(error, ModuleNotFoundError) and error.name and _find(error.name) is None:
        return missing(error.name.split(".")[0], extra, purpose)
    return BrokenInstall(package, purpose, error, install_line(extra))


def _find(package: str) -> object | None:
    try:
        return importlib.util.find_spec(package.split(".")[0])
    except (ImportError, ValueError):
        return None


def _origin() -> str | None:
    """Return the folder or the git address the running code was installed from; None for an index."""
    tree = Path(__file__).resolve().parents[1]
    if (tree / "pyproject.toml").is_file():
        return str(tree)
    try:
        text = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        source = json.loads(text or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    url = str(source.get("url", ""))
    if "vcs_info" in source:
        wanted = source["vcs_info"].get("requested_revision")
        return f"git+{url}" + (f"@{wanted}" if wanted else "")
    folder = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
    return str(folder) if folder is not None and folder.is_dir() else None
