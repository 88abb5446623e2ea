"""Is everything here that a browser needs, and does one click work."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from molmo_agents.browser.launch import Screen, find_chromium, open_page
from molmo_agents.browser.loopback import serve_html
from molmo_agents.defaults import PROGRAM_TIMEOUT_S
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import PointError
from molmo_point.install import install_line
from molmo_point.testing import FakePointer

_PAGE = """<!doctype html><meta charset=utf-8><title>molmo-web doctor</title>
<style>button { position: absolute; left: 200px; top: 150px; width: 160px; height: 60px }</style>
<button onclick="document.title='pressed'">Press</button>"""


_SANDBOX = (
    (
        Path("/proc/sys/kernel/unprivileged_userns_clone"),
        "0",
        'type "sysctl -w kernel.unprivileged_userns_clone=1" as root',
    ),
    (
        Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        "1",
        "use the distribution's Chromium, which has a profile, or allow it one",
    ),
    (
        Path("/proc/sys/user/max_user_namespaces"),
        "0",
        'type "sysctl -w user.max_user_namespaces=10000" as root',
    ),
)
"""Where Linux says whether a user's programs may have namespaces of their own, which the sandbox is made of."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what, whether it is fine, and what was found or what to do."""

    name: str
    good: bool
    detail: str


def examine() -> list[Finding]:
    """Look at Python, packages, browser, sandbox and fonts, then press one button on a page of our own."""
    findings = [
        Finding("python", True, platform.python_version()),
        _package("playwright"),
        _package("mcp"),
    ]
    try:
        path = find_chromium()
        findings.append(Finding("browser", True, f"{path} ({_version(path)})"))
    except PointError as error:
        findings.append(Finding("browser", False, str(error)))
    findings += [_sandbox(), _fonts()]
    if all(finding.good for finding in findings if finding.name in ("playwright", "browser")):
        findings += _one_click()
    return findings


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, f"not installed: {install_line('agents')}")


def _version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=PROGRAM_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not tell its version: {error}"
    return done.stdout.strip() or "no version told"


def _sandbox() -> Finding:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Finding("sandbox", True, "off, because this is root: run as a user to have it")
    if not sys.platform.startswith("linux"):
        return Finding("sandbox", True, "on")
    for file, refusing, remedy in _SANDBOX:
        if file.is_file() and file.read_text("ascii", "replace").strip() == refusing:
            return Finding(
                "sandbox", False, f"the kernel forbids it ({file} is {refusing}): {remedy}"
            )
    return Finding("sandbox", True, "on")


def _fonts() -> Finding:
    program = shutil.which("fc-list")
    if program is None:
        return Finding(
            "fonts", True, "fontconfig is not installed: cannot tell how many there are"
        )
    try:
        done = subprocess.run(
            [program, ":", "family"],
            capture_output=True,
            text=True,
            timeout=PROGRAM_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("fonts", True, f"cannot be listed: {error}")
    count = len(set(done.stdout.splitlines()))
    remedy = "" if count else ': text will be boxes; type "apt-get install fonts-dejavu-core"'
    return Finding("fonts", count > 0, f"{count} families{remedy}")


def _one_click() -> list[Finding]:
    centre = (280 / 640, 180 / 480)
    try:
        with serve_html(lambda path: _PAGE) as url, open_page(Screen(640, 480)) as page:
            page.goto(url, timeout=PROGRAM_TIMEOUT_S * 1000)
            with WebPointer(page, FakePointer({"the button": [centre]})) as web:
                outcome = web.click("the button", expect_name="Press")
            title = page.title()
            unheld = web.unheld
    except Exception as error:  # whatever a broken installation throws is the finding
        return [Finding("one click", False, f"{type(error).__name__}: {str(error)[:300]}")]
    good = outcome.ok and title == "pressed"
    pressed = f"{outcome.status} in {outcome.timings['total']:.2f} s {outcome.message}".strip()
    held = unheld or "every connection of the browser is held to the policy"
    return [Finding("one click", good, pressed), Finding("network", not unheld, held)]
