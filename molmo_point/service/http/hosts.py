"""Which host names a request may name, and which web pages may ask: what keeps the pages of other sites away."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from molmo_point.errors import UsageError
from molmo_point.service.bind_check import is_loopback

_NAME = re.compile(r"(\*\.)?[\w-]+(\.[\w-]+)*")

_OWN_SITE = ("same-origin", "none")
"""Values of Sec-Fetch-Site: this server's own page, the user himself (address bar, bookmark). Programs send none."""


def checked_origin(text: str) -> str:
    """Return an origin as browsers send it.

    Raises:
        UsageError: Not scheme://host[:port].
    """
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/")
        # Browsers leave out the port that goes without saying.
        standard = 443 if parts.scheme == "https" else 80
        port = f":{parts.port}" if parts.port not in (None, standard) else ""
    except ValueError:
        good = None
    if not good:
        raise UsageError(
            f"expected an origin like https://app.example.com, got {text!r}: name each origin, there is no '*'"
        )
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


@functools.lru_cache(maxsize=64)  # asked for every HTTP request
def one_spelling(host: str) -> str:
    """Return a host's name or IP address in the one spelling in which hosts are compared."""
    name = host.lower().rstrip(".").strip("[]")
    return str(ipaddress.ip_address(name)) if _is_address(name) else name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def checked_host(text: str) -> str:
    """Return a host name, "*.example.com" for all below one, or an IP address, as `one_spelling` does.

    Raises:
        UsageError: It is none: no name of a host would ever match it.
    """
    name = one_spelling(text)
    if not (_is_address(name) or _NAME.fullmatch(name)):
        raise UsageError(
            f"expected the name of a host, such as robot.example or *.robot.example, without scheme and port, got {text!r}"
        )
    return name


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a host name is one of the patterns: itself, or below `*.example.com`."""
    return any(
        name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:]))
        for pattern in patterns
    )


class Hosts:
    """The names this server answers to.

    Args:
        allowed: Further host names.
        loopback_only: Whether it is bound to this machine: then requests must name this machine, so that a web page cannot reach
            it under a name of its own that resolves to 127.0.0.1.
    """

    def __init__(self, allowed: Sequence[str] = (), *, loopback_only: bool) -> None:
        self._allowed = [checked_host(name) for name in allowed]
        self._exact = frozenset(name for name in self._allowed if not name.startswith("*."))
        self._everybody = not loopback_only and not self._allowed

    def known(self, host: str) -> bool:
        """Whether a Host header names this server."""
        if self._everybody:
            return True
        name = _name(host)
        return is_loopback(name) or matches(name, self._allowed)

    def own_page(self, headers: Headers, method: str, origins: Sequence[str]) -> bool:
        """Whether a request comes from no web page, this server's own, or one of the origins.

        Args:
            headers: Of the request.
            method: GET and HEAD change nothing, and their answers cannot be read by a page of another origin.
            origins: As `checked_origin` returns them.
        """
        named, host = headers.getlist("origin"), headers.get("host", "")
        if named:
            return all(origin in origins or self._same(origin, host) for origin in named)
        sites = headers.getlist("sec-fetch-site")
        return method in ("GET", "HEAD") or all(site in _OWN_SITE for site in sites)

    def _same(self, origin: str, host: str) -> bool:
        try:
            page, asked = urlsplit(origin), urlsplit(f"//{host}")
            standard = {"http": 80, "https": 443}[page.scheme]
            page_port, asked_port = page.port or standard, asked.port
        except (KeyError, ValueError):
            return False
        name, own = one_spelling(page.hostname or ""), one_spelling(asked.hostname or "")
        if name == own and page_port == (asked_port or standard):
            return True
        if name != own:
            # Behind a proxy that puts another name into Host, the browser's name is the one that was allowed. A page under
            # another name of *.example.com is another site, unless Host says nothing: it names this machine.
            return name in self._exact or (is_loopback(own) and matches(name, self._allowed))
        # A proxy may leave the port out of Host. One that is there says where the page is not from.
        return asked_port is None and matches(name, self._allowed)


def _name(host: str) -> str:
    head, colon, port = host.rpartition(":")
    name = head if colon and head and (not port or port.isdigit()) else host
    return one_spelling(name)
