"""Find Chromium and start it with arguments that keep all its connections on the relay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agents.browser import relay
from molmo_agents.defaults import LAUNCH_TIMEOUT_S
from molmo_agents.errors import BrowserMissing
from molmo_agents.playwright_types import Json
from molmo_point.errors import UsageError
from molmo_point.install import import_failure

ENVIRONMENT = "MOLMO_CHROMIUM"
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
)

BYPASS = "<-loopback>"
"""Chromium's syntax for: no host bypasses the proxy, not even loopback."""

QUIET = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    # Relays carry TCP only: WebRTC would send its UDP past them.
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",  # its name in older versions
)
"""No updates, no suggestions, no calls home: the only requests are the page's, and all of them are TCP."""


@dataclass(frozen=True)
class Screen:
    """The viewport in CSS px, and the device pixels per CSS px."""

    width: int = 1280
    height: int = 800
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (
            16 <= self.width <= 8192 and 16 <= self.height <= 8192 and 0.25 <= self.scale <= 8
        ):
            raise UsageError(
                f"expected a viewport of 16-8192 px and a scale of 0.25-8, got {self.width}x{self.height} at {self.scale}"
            )


def find_chromium() -> str:
    """Return the path of a Chromium, Chrome or Edge.

    Raises:
        BrowserMissing: None found; the message says where it was looked for and what to type.
    """
    given = os.environ.get(ENVIRONMENT)
    if given:
        found = shutil.which(given)
        if found is None:
            raise BrowserMissing(
                f"{ENVIRONMENT} says {given!r}, which is no program: correct or unset it"
            )
        return found
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    for path in _playwright_browsers():
        return str(path)
    raise BrowserMissing(
        f"no Chromium found (looked for {', '.join(NAMES)} on PATH and for Playwright's own): "
        'type "apt-get install chromium" or "playwright install chromium", '
        f"or name one in the environment variable {ENVIRONMENT}"
    )


def _playwright_browsers() -> list[Path]:
    root = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    folder = Path(root) if root and root != "0" else Path.home() / ".cache" / "ms-playwright"
    return sorted(folder.glob("chromium-*/chrome-linux*/chrome"), reverse=True)


def launch_arguments() -> list[str]:
    """Return Chromium's arguments. The sandbox is given up only for root, who cannot have it."""
    arguments = [
        *QUIET,
        f"--proxy-server={relay.start(shared=True).address}",
        f"--proxy-bypass-list={BYPASS}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    return arguments


def launch(playwright: Any, *, headless: bool = True, extra: tuple[str, ...] = ()) -> Any:
    """Start a browser with a sync or async Playwright object; the result is to be awaited for the latter."""
    return playwright.chromium.launch(
        executable_path=find_chromium(),
        headless=headless,
        args=[*launch_arguments(), *extra],
        timeout=LAUNCH_TIMEOUT_S * 1000,
    )


def context_options(screen: Screen, *, downloads: bool = False) -> Json:
    """Return arguments for `browser.new_context`: no service workers, which would answer behind the policy's back."""
    return {
        "viewport": {"width": screen.width, "height": screen.height},
        "device_scale_factor": screen.scale,
        "service_workers": "block",
        "accept_downloads": downloads,
        "proxy": {"server": relay.start().address, "bypass": BYPASS},
    }


@contextmanager
def open_page(
    screen: Screen | None = None, *, headless: bool = True, downloads: bool = False
) -> Iterator[Any]:
    """Start a browser, yield a fresh page in a context of its own, and end everything afterwards.

    Raises:
        MissingExtra: Playwright is not installed.
        BrowserMissing: No Chromium.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise import_failure(error, "playwright", "agents", "driving a browser") from error
    find_chromium()
    with sync_playwright() as playwright:
        browser = launch(playwright, headless=headless)
        try:
            context = browser.new_context(
                **context_options(screen or Screen(), downloads=downloads)
            )
            yield context.new_page()
        finally:
            browser.close()
