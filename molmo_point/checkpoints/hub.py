"""A model's name -> a folder with its files: the package's own, a local one, or one downloaded from the hub.

A download begins with the small files. config.json is checked before the weights are fetched, so that no gigabytes are
fetched for a model that cannot be run.
"""

from __future__ import annotations

import difflib
import errno
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from molmo_point.checkpoints.catalog import CATALOG, NANO_FOLDER, find, hub_cache
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.folder import check_folder, is_complete, weight_files
from molmo_point.checkpoints.hub_errors import endpoint, explained, free_bytes
from molmo_point.errors import CheckpointError, DownloadError, ModelNotFound
from molmo_point.install import import_failure

SMALL_FILES = ["*.json"]
"""Sizes, tokenizer, index of the weights. No code, no pickles."""

Announce = Callable[[str], None]
"""Called with a sentence for the user."""


def _to_stderr(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


def resolve(name: str | Path, *, announce: Announce = _to_stderr) -> Path:
    """Return the folder of a model; download it with a progress bar if necessary.

    Args:
        name: A folder; a name of `molmo-point models`; or a hub repository "owner/name". HF_HUB_OFFLINE=1 and the other
            environment variables of huggingface_hub apply.
        announce: Called with the size of a download before it begins.

    Raises:
        ModelNotFound: Unknown name; the message offers the nearest ones.
        CheckpointError: The folder or the repository holds no Molmo that can be run here.
        DownloadError: The download failed.
    """
    found = locate(name)
    return found if isinstance(found, Path) else download(found, announce)


def locate(name: str | Path) -> Path | str:
    """Return the folder of a model that was given by its path or comes with the package, or the hub's name of another one.

    The hub is not asked. Raises as `resolve`, but for downloads.
    """
    folder = Path(name)
    if isinstance(name, Path) or (folder / "config.json").exists():
        return _existing(folder)
    entry = find(name)
    # Before folders: a folder that has a model's name but holds no checkpoint does not hide the model.
    if entry is not None:
        return NANO_FOLDER if entry.hub_name is None else entry.hub_name
    if folder.is_dir():
        return _existing(folder)
    if name.startswith((".", "~", os.sep)) or not _looks_like_repository(name):
        raise ModelNotFound(_unknown(name))
    if folder.parent.is_dir():
        raise ModelNotFound(
            f"there is a folder {folder.parent}, but no {name} in it: check the path"
        )
    return name


def download(repository: str, announce: Announce = _to_stderr) -> Path:
    """Return the folder of a hub repository; files that are missing on this machine are fetched.

    Raises:
        ModelNotFound: The hub has no such repository, or it cannot be read without a token.
        CheckpointError: It holds no Molmo that can be run here; raised before its weights are fetched.
        DownloadError: No connection, no access, disk full, or not on this machine in offline mode.
    """
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise import_failure(error, "huggingface_hub", "engine", "Downloading a model") from error
    if str(hub_cache()).startswith("~"):
        raise DownloadError(
            "there is no home directory to download to: set HF_HOME to a folder with room"
        )
    try:
        return _fetch(repository, announce)
    except Exception as error:  # raised by huggingface_hub or its network library
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _remove_incomplete(repository)
        known = explained(repository, error, _unknown(repository), _offered(repository))
        if known is error:
            raise
        raise known from error


def _fetch(repository: str, announce: Announce) -> Path:
    from huggingface_hub import snapshot_download

    try:
        sizes = _listing(repository)
    except Exception:
        # Without the hub, a complete snapshot on this machine is used.
        cached = _cached(repository)
        if cached is None:
            raise
        return cached
    # Passed explicitly: the library reads its environment only when it is imported.
    fetch = functools.partial(
        snapshot_download, repository, cache_dir=hub_cache(), endpoint=endpoint()
    )
    folder = Path(fetch(allow_patterns=SMALL_FILES))
    try:
        check_folder(folder)
        MolmoConfig.from_folder(folder)
        names = weight_files(folder)
    except CheckpointError as error:
        raise CheckpointError(
            f"{repository} cannot be run here, and its weights were not fetched: {error}"
        ) from error
    lacking = [name for name in names if name not in sizes]
    if lacking:
        raise CheckpointError(_no_weights(repository, lacking, sizes))
    _announce_size(repository, {name: sizes[name] for name in names}, folder, announce)
    folder = Path(fetch(allow_patterns=[*SMALL_FILES, *names]))
    _check_sizes(folder, {name: sizes[name] for name in names})
    return folder


def _listing(repository: str) -> dict[str, int]:
    """Return {file: bytes} of a repository."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    # First, because it does not retry. Some mirrors give no sizes here.
    files: Iterable[Any] = api.model_info(repository, files_metadata=True).siblings or []
    sizes = {file.rfilename: file.size for file in files}
    if None in sizes.values():
        entries: Iterable[Any] = api.list_repo_tree(repository, recursive=True)
        sizes = {entry.path: entry.size for entry in entries if hasattr(entry, "size")}
    return {name: size or 0 for name, size in sizes.items()}


def _cached(repository: str) -> Path | None:
    """Return the newest complete snapshot on this machine, or None."""
    snapshots = (hub_cache() / ("models--" + repository.replace("/", "--"))).glob("snapshots/*")
    whole = [folder for folder in snapshots if is_complete(folder)]
    return max(whole, key=lambda folder: folder.stat().st_mtime, default=None)


def _no_weights(repository: str, lacking: list[str], sizes: dict[str, int]) -> str:
    pickled = [name for name in sizes if name.endswith((".bin", ".pt", ".pth"))]
    instead = ""
    if pickled:
        instead = f"; it holds pickled weights ({', '.join(pickled[:3])}), which can run code when read and are refused"
    return f"{repository} has no {', '.join(lacking[:3])} on the hub{instead}"


def _announce_size(
    repository: str, sizes: dict[str, int], folder: Path, announce: Announce
) -> None:
    """Announce the size of the download and the free disk space.

    Raises:
        DownloadError: There is not enough space.
    """
    needed = sum(size for name, size in sizes.items() if not (folder / name).exists())
    if not needed:
        return
    free = free_bytes()
    said = f"{_in_words(needed)} to fetch, {_in_words(free)} free at {hub_cache()}"
    if needed > free:
        raise DownloadError(
            f"the disk is too full for {repository}: {said}; make room, or set HF_HOME to a folder on another disk"
        )
    announce(f"{repository}: {said}")


def _in_words(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _check_sizes(folder: Path, sizes: dict[str, int]) -> None:
    """Remove files whose size differs from the hub's, so that they are fetched again.

    Raises:
        DownloadError: There are such files.
    """
    short = [
        name for name, size in sizes.items() if size and (folder / name).stat().st_size != size
    ]
    for name in short:
        (folder / name).resolve().unlink()
        (folder / name).unlink(missing_ok=True)
    if short:
        raise DownloadError(
            f"{', '.join(short)} did not come whole and was removed: give the same command again"
        )


def _remove_incomplete(repository: str) -> None:
    """Remove the incomplete files of a download after the disk was full."""
    folder = hub_cache() / ("models--" + repository.replace("/", "--"))
    for partial in folder.glob("blobs/*.incomplete"):
        partial.unlink(missing_ok=True)


def _existing(folder: Path) -> Path:
    folder = folder.expanduser()
    if not folder.is_dir():
        raise ModelNotFound(_unknown(str(folder)))
    check_folder(folder)
    return folder


def _looks_like_repository(name: str) -> bool:
    owner, slash, rest = name.partition("/")
    return bool(slash and owner and rest and "/" not in rest)


_DATE = re.compile(r"-[0-9]{4}$")
"""The date of release at the end of a hub name, as in Molmo-7B-D-0924."""

_LIKE = 0.6
"""Smallest ratio of difflib at which a name counts as a mistyped one."""


def _near(name: str, cutoff: float) -> list[str]:
    """Return up to three known names that are most similar to `name`; it may lack the date at the end of some."""
    known = {entry.name: entry.name for entry in CATALOG}
    hub_names = [entry.hub_name for entry in CATALOG if entry.hub_name]
    known |= {hub_name.lower(): hub_name for hub_name in hub_names}
    known |= {_DATE.sub("", hub_name.lower()): hub_name for hub_name in hub_names}
    close = difflib.get_close_matches(name.lower(), known, n=6, cutoff=cutoff)
    return list(dict.fromkeys(known[key] for key in close))[:3]


def _offered(repository: str) -> str:
    """Return a sentence that offers known names similar to an unknown repository; "" if there are none."""
    near = [] if find(repository) else _near(repository, _LIKE)
    return f"Did you mean {', '.join(near)}? (molmo-point models lists all.)" if near else ""


def _unknown(name: str) -> str:
    near = _near(name, 0.4) or [entry.name for entry in CATALOG]
    return (
        f"there is no model or folder {name!r}; did you mean {', '.join(near)}? "
        "(molmo-point models lists all)"
    )
