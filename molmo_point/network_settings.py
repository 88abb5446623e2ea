"""Proxies and certificates that the environment names, in words that hold no password."""

from __future__ import annotations

import os
import re
import urllib.request
from urllib.parse import urlsplit

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables from which trusted certificates are taken."""

_CREDENTIALS = re.compile(r"(?<=//)[^/\s'\"?#]*@")


def proxy_for(url: str) -> str | None:
    """Return the setting whose proxy is used for `url`, such as "HTTPS_PROXY=http://proxy:3128"; None if no proxy is.

    As urllib, requests and httpx choose it: the variable of the URL's scheme before ALL_PROXY, small letters before capitals,
    and none for the hosts of NO_PROXY. User name and password are left out.
    """
    address = urlsplit(url)
    proxies = urllib.request.getproxies()
    scheme = next((name for name in (address.scheme, "all") if proxies.get(name)), None)
    if scheme is None or urllib.request.proxy_bypass(address.netloc.rpartition("@")[2]):
        return None
    value = proxies[scheme]
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    name = next((name for name in names if os.environ.get(name) == value), "the system's proxy")
    # A password may hold any character, so all that stands before the last @ goes.
    before, separator, host = value.rpartition("@")
    start, slashes, _ = before.partition("//")
    return f"{name}={start}{slashes}{host}" if separator and slashes else f"{name}={host}"


def certificate_settings() -> list[str]:
    """Return the settings that name trusted certificates, such as "SSL_CERT_FILE=/etc/ssl/cert.pem"."""
    return [f"{name}={os.environ[name]}" for name in CERTIFICATES if os.environ.get(name)]


def broken_certificate_settings() -> list[str]:
    """Return those of `certificate_settings` whose file or folder does not exist."""
    return [one for one in certificate_settings() if not os.path.exists(one.partition("=")[2])]


def without_credentials(text: str) -> str:
    """Return `text` without the user names and passwords of the URLs in it."""
    return _CREDENTIALS.sub("", text)
