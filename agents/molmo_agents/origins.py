"""Which addresses are allowed: exact scheme, host and port, or an explicit `*.` for subdomains.

Compared is what the browser will really fetch: addresses come from the browser already in canonical form. Whatever is
not canonical (user names, backslashes, control characters) is refused rather than repaired: two parsers that repair an
address differently are how filters get passed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from molmo_agents.errors import PolicyError

SCHEMES = {"http": 80, "https": 443}
_SOCKETS = {"ws": "http", "wss": "https"}
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_IPV6 = re.compile(r"[0-9a-f:.]+")


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port; `subdomains` when the pattern began with `*.` (the bare domain is then not included)."""

    scheme: str
    host: str
    port: int
    subdomains: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == SCHEMES[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{'*.' if self.subdomains else ''}{host}{port}"

    def covers(self, other: Origin) -> bool:
        """Whether an address of origin `other` is allowed by this pattern."""
        if (self.scheme, self.port) != (other.scheme, other.port):
            return False
        if self.subdomains:
            return other.host.endswith("." + self.host)
        return self.host == other.host


def origin_of(url: str) -> Origin | None:
    """Return the origin of a canonical http(s) or ws(s) address, or None for anything else."""
    if (
        not url
        or any(c in url for c in "\\\t\r\n")
        or any(ord(c) < 33 or ord(c) > 126 for c in url)
    ):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = _SOCKETS.get(parts.scheme, parts.scheme)
    if scheme not in SCHEMES or "@" in parts.netloc:
        return None
    host = (parts.hostname or "").lower()
    if not (_HOST.fullmatch(host) or (":" in host and _IPV6.fullmatch(host))):
        return None
    return Origin(scheme, host, SCHEMES[scheme] if port is None else port)


def parse_pattern(text: str) -> Origin:
    """Read one allowed origin: "https://example.com", "http://127.0.0.1:8000" or "https://*.example.com".

    Raises:
        PolicyError: No scheme, a path, a bare star, or a host that cannot be one.
    """
    remedy = 'write it as "https://example.com", with a port where it is not the usual one'
    stripped = text.strip().rstrip("/")
    scheme, separator, rest = stripped.partition("://")
    subdomains = rest.startswith("*.")
    if not separator or "/" in rest or "?" in rest or "#" in rest:
        raise PolicyError(f"{text!r} is not an origin: {remedy}")
    origin = origin_of(f"{scheme}://{rest[2:] if subdomains else rest}/")
    if origin is None or scheme not in SCHEMES:
        raise PolicyError(f"{text!r} is not an http or https origin: {remedy}")
    if subdomains and "." not in origin.host:
        raise PolicyError(f"{text!r} would allow a whole top-level domain: name the domain")
    return Origin(origin.scheme, origin.host, origin.port, subdomains)


def allowed(url: str, patterns: Iterable[Origin]) -> bool:
    """Whether `url` is http(s) or ws(s) and its origin is covered by one of `patterns`."""
    origin = origin_of(url)
    return origin is not None and any(pattern.covers(origin) for pattern in patterns)
