"""An `httpx.Client` for one server, made with the network settings of this process's environment, and what its errors mean."""

from __future__ import annotations

import os
from typing import Any

from molmo_point.install import import_failure

try:
    import httpx
except ImportError as error:
    raise import_failure(error, "httpx", "client", "connecting over HTTP") from error

from molmo_point.client.address import is_loopback
from molmo_point.errors import PointError, Refused, ServerGone, ServiceError, UsageError
from molmo_point.network_settings import proxy_for, without_credentials

__all__ = ["ERRORS", "failure", "httpx", "open_session", "permanent"]

_SETTINGS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")

ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
"""Everything that httpx raises; these three have no common base below Exception."""


def open_session(url: str, token: str | None) -> httpx.Client:
    """Return connections to `url`.

    Proxies of the environment are used as everywhere (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), except to loopback
    addresses, which no proxy can reach. Certificates (SSL_CERT_FILE, SSL_CERT_DIR) are loaded for https only.

    Raises:
        UsageError: A setting of the environment, or the token, cannot be used.
    """
    address = httpx.URL(url)
    headers = {"Authorization": f"Bearer {_checked_token(token)}"} if token else {}
    try:
        # http:// needs no certificates; an https:// proxy is checked by a context of its own.
        certificates: Any = httpx.create_ssl_context() if address.scheme == "https" else False
        return httpx.Client(
            base_url=url,
            headers=headers,
            verify=certificates,
            trust_env=not is_loopback(address.host),
        )
    except (*ERRORS, ImportError, ValueError, TypeError, OSError) as error:
        names = " and ".join(_set_here()) or "proxy or certificates"
        raise UsageError(
            f"the network settings of this environment cannot be used for {url} ({names}: "
            f"{without_credentials(str(error))}): correct or unset them, or name {address.host} in NO_PROXY"
        ) from error


def failure(url: str, error: Exception) -> PointError:
    """Return the error of ours for one of `ERRORS` that does not go away by trying again."""
    if isinstance(error, httpx.TransportError) and not permanent(error):
        return _gone(url, error)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Refused(
            f"the certificate of {url} is not trusted here ({error}): name the file of its authority in SSL_CERT_FILE"
        )
    return ServiceError(f"{url} cannot be asked: {type(error).__name__}: {error}")


def permanent(error: Exception) -> bool:
    """Whether trying again cannot help."""
    lasting = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
    return (
        not isinstance(error, httpx.TransportError)
        or isinstance(error, lasting)
        or "CERTIFICATE_VERIFY_FAILED" in str(error)
    )


def _gone(url: str, error: Exception) -> ServerGone:
    proxy = _proxy_for(url)
    if proxy is not None:
        return ServerGone(
            f"nobody answers at {url} through the proxy {proxy} ({error}): check the proxy, or name "
            f"{httpx.URL(url).host} in NO_PROXY to go without it"
        )
    if isinstance(error, (httpx.RemoteProtocolError, httpx.ReadTimeout)):
        return ServerGone(
            f"no HTTP server answers at {url} ({error}): check the address; a ZeroMQ server's begins with tcp://"
        )
    return ServerGone(
        f"nobody answers at {url} ({error}): check that the server runs and the address is right"
    )


def _proxy_for(url: str) -> str | None:
    """Return the setting whose proxy is used for `url`, or None."""
    return None if is_loopback(httpx.URL(url).host) else proxy_for(url)


def _set_here() -> list[str]:
    """Return which settings the environment has; not their values, which may hold passwords."""
    return [name for name in _SETTINGS if os.environ.get(name) or os.environ.get(name.lower())]


def _checked_token(token: object) -> str:
    if not isinstance(token, str):
        raise UsageError(f"expected the token as text, got {type(token).__name__}")
    word = token.strip()
    if not word or any(not "!" <= character <= "~" for character in word):
        raise UsageError(
            "the token holds characters that a token cannot have (blanks, line breaks, letters beyond ASCII): check its file"
        )
    return word
