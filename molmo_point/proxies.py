"""Which proxy of the environment is used for a URL, in words that hold no password."""

from __future__ import annotations

import os
import re
import urllib.request
from urllib.parse import urlsplit

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
    shown = value if "//" in value else f"//{value}"
    return f"{name}={without_credentials(shown).removeprefix('' if '//' in value else '//')}"


def without_credentials(text: str) -> str:
    """Return `text` without the user names and passwords of the URLs in it."""
    return _CREDENTIALS.sub("", text)
