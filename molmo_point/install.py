"""The pip line that installs an optional part of this package, and errors for failed imports."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import traceback
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from molmo_point.errors import BrokenInstall, MissingExtra

DISTRIBUTION = "molmo-point"


def install_line(extra: str = "") -> str:
    """Return the pip line that installs the package with `extra` from its own source.

    It names the folder of an editable or local install or of a source tree on the path (PYTHONPATH, a ROS workspace), the URL of
    an install from git, and the package alone for an install from an index.
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
    error: Exception, package: str, extra: str, purpose: str
) -> MissingExtra | BrokenInstall:
    """Return the error for a package that could not be imported: it is missing, or it is installed and broken.

    Args:
        error: Raised by the import; not always an ImportError (torch raises OSError for a missing CUDA library).
        package: Its import name, such as "cv2".
        extra: The extra of this package that installs it.
        purpose: What needs it; the subject of the message.
    """
    if _find(package) is None:
        return missing(package, extra, purpose)
    if isinstance(error, ModuleNotFoundError) and error.name and _find(error.name) is None:
        return missing(error.name.split(".")[0], extra, purpose)
    return BrokenInstall(package, purpose, error, install_line(extra))


def failed_import(error: BaseException) -> str | None:
    """Return the package of others whose import raised `error`: what the last line of our own code imported, or what a function
    of another package did that it called; None if none did.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [str(frame.f_globals.get("__name__", "")).split(".")[0] for frame in frames]
    last = max((n for n, name in enumerate(modules) if name.startswith("molmo_")), default=-1)
    behind = frames[last + 1 :]
    if behind and behind[0].f_code.co_name == "<module>":
        return modules[last + 1]
    imported = [
        name
        for name, frame in zip(modules[last + 1 :], behind, strict=True)
        if frame.f_code.co_name == "<module>"
    ]
    if imported:
        # typer imports pydantic in its functions: not typer's own module is to be named.
        return next((name for name in imported if name != modules[last + 1]), imported[0])
    name = (error.name or "").split(".")[0] if isinstance(error, ImportError) else ""
    return name if name and not name.startswith("molmo_") else None


def _find(package: str) -> object | None:
    try:
        return importlib.util.find_spec(package.split(".")[0])
    except (ImportError, ValueError):
        return None


def _origin() -> str | None:
    """Return the folder or the git URL that the running code was installed from; None for an index."""
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
        revision = source["vcs_info"].get("requested_revision")
        # pip before 24.1 takes no file URL without a host.
        url = url.replace("file:///", "file://localhost/", 1)
        return f"git+{url}" + (f"@{revision}" if revision else "")
    folder = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
    return str(folder) if folder is not None and folder.is_dir() else None
