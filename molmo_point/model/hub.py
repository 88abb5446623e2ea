"""A model's name -> a folder with its files: the package's own, a local one, or one downloaded from the hub."""

from __future__ import annotations

import difflib
import errno
import os
import shutil
from pathlib import Path

from molmo_point.checkpoint_folder import check_folder
from molmo_point.errors import DownloadError, ModelNotFound
from molmo_point.install import import_failure
from molmo_point.model.catalog import CATALOG, NANO_FOLDER, find, hub_cache

FILES = ["*.json", "*.safetensors"]
"""What is downloaded: no code, no pickles."""


def resolve(name: str | Path) -> Path:
    """Find the folder of a model, downloading it with a progress bar if need be.

    Args:
        name: A folder; a name of `molmo-point models`; or a hub repository "owner/name". HF_HUB_OFFLINE=1 and the other
            environment variables of huggingface_hub hold.

    Raises:
        ModelNotFound: No such name; the nearest ones are offered.
        DownloadError: The hub did not deliver.
    """
    folder = Path(name)
    if isinstance(name, Path) or (folder / "config.json").exists():
        return _existing(folder)
    entry = find(name)
    # Before folders: one that is called like a model, and is none, does not stand in the model's way.
    if entry is not None:
        return NANO_FOLDER if entry.hub_name is None else download(entry.hub_name)
    if folder.is_dir():
        return _existing(folder)
    if name.startswith((".", "~", os.sep)) or not _looks_like_repository(name):
        raise ModelNotFound(_unknown(name))
    return download(name)


def download(repository: str) -> Path:
    """Fetch the weights and tables of a hub repository; what is already there is not fetched again.

    Raises:
        ModelNotFound: The hub has no such repository, or it may not be read without a token.
        DownloadError: No connection, disk full, or not on this machine in offline mode.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )
    except ImportError as error:
        raise import_failure(error, "huggingface_hub", "engine", "Downloading a model") from error
    try:
        return Path(snapshot_download(repository, allow_patterns=FILES))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFound(f"{_unknown(repository)} ({type(error).__name__})") from error
    except LocalEntryNotFoundError as error:
        raise DownloadError(
            f"{repository} is not on this machine and the hub cannot be reached: connect once, or copy the folder here and "
            "give its path"
        ) from error
    except OSError as error:
        _remove_incomplete(repository)
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(_existing_parent(hub_cache())).free
            raise DownloadError(
                f"the disk is full ({free / 1e9:.1f} GB free at {hub_cache()}): make room for {repository}, or set HF_HOME to "
                "a folder on another disk; whole files are kept, the one that broke off was removed"
            ) from error
        raise DownloadError(
            f"{repository} could not be downloaded: {error}; whole files are kept and not fetched again"
        ) from error


def _remove_incomplete(repository: str) -> None:
    """Remove what a broken download left half-written."""
    folder = hub_cache() / ("models--" + repository.replace("/", "--"))
    for partial in folder.glob("blobs/*.incomplete"):
        partial.unlink(missing_ok=True)


def _existing_parent(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _existing(folder: Path) -> Path:
    folder = folder.expanduser()
    if not folder.is_dir():
        raise ModelNotFound(_unknown(str(folder)))
    check_folder(folder)
    return folder


def _looks_like_repository(name: str) -> bool:
    owner, slash, rest = name.partition("/")
    return bool(slash and owner and rest and "/" not in rest)


def _unknown(name: str) -> str:
    known = {entry.name: entry.name for entry in CATALOG}
    known |= {entry.hub_name.lower(): entry.hub_name for entry in CATALOG if entry.hub_name}
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4) or list(known)[:5]
    return (
        f"there is no model or folder {name!r}; did you mean {', '.join(known[key] for key in near)}? "
        "(molmo-point models lists all)"
    )
