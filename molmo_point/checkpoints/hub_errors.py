"""Errors of huggingface_hub -> errors of this package, in one sentence each.

Depending on its version, huggingface_hub uses requests, httpx or httpx2 and raises their errors. They are distinguished by their
class names, which are nearly the same in all three.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from molmo_point.checkpoints.catalog import hub_cache
from molmo_point.errors import DownloadError, ModelNotFound, PointError
from molmo_point.network_settings import (
    broken_certificate_settings,
    certificate_settings,
    proxy_for,
    without_credentials,
)

KEPT = "Whole files are kept and not fetched again."

_UNREACHABLE = (
    "is not on this machine and the hub cannot be reached at {endpoint}{proxy}: {network}, or copy the folder here and give "
    "its path"
)
_BROKE_OFF = (
    "could not be fetched to its end: the connection{proxy} broke off; give the same command again"
)
_LATE = (
    "could not be fetched: {endpoint} did not answer in time{proxy}; give the same command again"
)
_NOT_THE_HUB = (
    "could not be fetched: what answers at {endpoint} is not the hub: open a browser and look for the login page of the network, "
    "or correct HF_ENDPOINT"
)
_NO_ADDRESS = (
    "could not be fetched: {endpoint} is no http:// or https:// address; correct HF_ENDPOINT"
)
_CERTIFICATE = (
    "could not be fetched: the certificate of {endpoint} was not accepted{proxy} ({said}): name the file of its authority in "
    "SSL_CERT_FILE{certificates}"
)
_TLS = "could not be fetched: no TLS connection to {endpoint} could be made{proxy} ({said}{certificates})"
_BAD_PROXY = "could not be fetched{proxy}: that is no address of a proxy that can be used; correct or unset that variable"

_BY_CLASS = {
    "OfflineModeIsEnabled": "is not on this machine, and HF_HUB_OFFLINE=1 forbids to fetch it: unset it, or copy the folder "
    "here and give its path",
    "RevisionNotFoundError": "has no files on the hub yet (no branch 'main')",
    "DisabledRepoError": "was disabled by the hub",
    "ProxyError": "could not be fetched: the proxy of the environment does not work{proxy} ({said})",
    "UnsupportedProtocol": _NO_ADDRESS,
    "InvalidURL": _NO_ADDRESS,
    "InvalidSchema": _NO_ADDRESS,
    "MissingSchema": _NO_ADDRESS,
    "SSLCertVerificationError": _CERTIFICATE,
    "SSLError": _TLS,
    "JSONDecodeError": _NOT_THE_HUB,
    "FileMetadataError": _NOT_THE_HUB,
    "DecodingError": _NOT_THE_HUB,
    "TimeoutException": _LATE,
    "Timeout": _LATE,
    "TimeoutError": _LATE,
    "ChunkedEncodingError": _BROKE_OFF,
    "RemoteProtocolError": _BROKE_OFF,
    "ReadError": _BROKE_OFF,
    "WriteError": _BROKE_OFF,
    "IncompleteRead": _BROKE_OFF,
    "ConnectionError": _UNREACHABLE,
    "TransportError": _UNREACHABLE,
    "ImportError": "could not be fetched: a proxy of the environment needs a package that is missing ({said}){proxy}",
}
"""Class name -> the rest of a sentence that begins with the repository."""

_BY_STATUS = {
    401: "could not be fetched: the hub did not accept the token (401: {said}); log in again with `hf auth login`, or unset "
    "HF_TOKEN",
    403: "may not be read with this account (403): ask its owner for access, or log in with `hf auth login`",
    404: "has files that the hub does not find (404: {said})",
    407: "could not be fetched: the proxy wants a password (407){proxy}",
    429: "could not be fetched: the hub takes no more requests from here for now (429); wait some minutes, or log in with "
    "`hf auth login`, which raises the limit",
}


def explained(repository: str, error: BaseException, unknown: str, near: str = "") -> PointError:
    """Return the error of this package for an error of huggingface_hub.

    Args:
        unknown: The message for an unknown name.
        near: A sentence that offers similar names; used where the hub did not say whether the repository exists.
    """
    if isinstance(error, PointError):
        return error
    chain = list(_chain(error))
    names = [cls.__name__ for one in chain for cls in type(one).__mro__]
    status = next(filter(None, map(_status, chain)), None)
    if "HFValidationError" in names:
        return ModelNotFound(unknown)
    if "GatedRepoError" in names:
        return DownloadError(
            f"{repository} is gated: accept its terms at {endpoint()}/{repository}, then log in with `hf auth login` or set "
            "HF_TOKEN"
        )
    if "RepositoryNotFoundError" in names:
        return ModelNotFound(f"{unknown}. {_private()}")
    full = next(filter(_is_of_the_disk, chain), None)
    if full is not None:
        return DownloadError(_disk(repository, full))
    gone = broken_certificate_settings()
    if gone and "FileNotFoundError" in names:
        return _error(
            repository,
            f"could not be fetched: {' and '.join(gone)} does not exist: correct or unset it",
            error,
        )
    if status is not None and (status in _BY_STATUS or status >= 400):
        return _error(repository, _BY_STATUS.get(status, _other(status)), error)
    # The outermost error is about the cache; the cause is at the end of the chain.
    for one in reversed(chain):
        for cls in type(one).__mro__:
            if cls.__name__ in _BY_CLASS:
                words = _BY_CLASS[cls.__name__]
                if words is _NO_ADDRESS and _proxy() and _is_address(endpoint()):
                    words = _BAD_PROXY
                return _error(repository, words, one, near)
        if "proxy URL" in str(one):
            return _error(repository, _BAD_PROXY, one)
    if "LocalEntryNotFoundError" in names:
        return _error(repository, _UNREACHABLE, error, near)
    if "Consistency check" in str(error):
        return _error(repository, _BROKE_OFF, error)
    return _error(repository, "could not be fetched{proxy}: {kind}: {said}", error, near)


_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM)


def _is_of_the_disk(error: BaseException) -> bool:
    """Return whether the disk is full, or a file may not be written; firewalls and TLS use the same numbers, without a file."""
    if not isinstance(error, OSError):
        return False
    return error.errno in _FULL or (error.errno in _FORBIDDEN and error.filename is not None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, the outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _other(status: int) -> str:
    if status >= 500:
        return (
            f"could not be fetched: the hub is in trouble (it answered {status}); try again later"
        )
    return f"could not be fetched: the hub answered {status}: {{said}}"


def _error(repository: str, words: str, error: BaseException, near: str = "") -> DownloadError:
    text = str(getattr(error, "server_message", None) or error) or type(error).__name__
    said = text.strip().splitlines()[0][:200].rstrip(".")
    proxy = _proxy()
    sentence = words.format(
        endpoint=endpoint(),
        said=said,
        kind=type(error).__name__,
        proxy=proxy,
        certificates=", now " + " and ".join(trusted)
        if (trusted := certificate_settings())
        else "",
        network="correct or unset that variable"
        if proxy
        else "connect this machine to the network",
    )
    whole = " ".join(filter(None, (f"{repository} {sentence}.", near, KEPT)))
    return DownloadError(without_credentials(whole))


def endpoint() -> str:
    """Return the hub's URL."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def _is_address(url: str) -> bool:
    address = urlsplit(url)
    return address.scheme in ("http", "https") and bool(address.hostname)


def _proxy() -> str:
    setting = proxy_for(endpoint())
    return f" through the proxy {setting}" if setting else ""


def _private() -> str:
    from huggingface_hub import get_token

    if get_token() is None:
        return "If it is a private repository, log in with `hf auth login` or set HF_TOKEN"
    return "If it is a private repository, the token in use may not read it"


def _disk(repository: str, error: BaseException) -> str:
    cache = hub_cache()
    if getattr(error, "errno", None) in _FULL:
        return (
            f"the disk is full ({free_bytes() / 1e9:.1f} GB free at {cache}): make room for {repository}, or set HF_HOME to a "
            f"folder on another disk. {KEPT} The one that broke off was removed."
        )
    return f"{cache} cannot be written to ({error}): set HF_HOME to a folder that can be"


def free_bytes() -> int:
    """Return the free bytes on the disk of the downloads."""
    cache = hub_cache().absolute()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    return shutil.disk_usage(Path(existing)).free
