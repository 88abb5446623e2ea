"""Is everything here that a browser needs, and does one click work."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from molmo_agents.browser import Screen, find_chromium, open_page
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import PointError
from molmo_point.testing import FakePointer

_PAGE = b"""<!doctype html><meta charset=utf-8><title>molmo-web doctor</title>
<style>button { position: absolute; left: 200px; top: 150px; width: 160px; height: 60px }</style>
<button onclick="document.title='pressed'">Press</button>"""


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
        findings.append(_one_click())
    return findings


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, 'not installed: pip install "molmo-point[agents]"')


def _version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not tell its version: {error}"
    return done.stdout.strip() or "no version told"


def _sandbox() -> Finding:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Finding("sandbox", True, "off, because this is root: run as a user to have it")
    return Finding("sandbox", True, "on")


def _fonts() -> Finding:
    program = shutil.which("fc-list")
    if program is None:
        return Finding(
            "fonts", True, "fontconfig is not installed: cannot tell how many there are"
        )
    try:
        done = subprocess.run(
            [program, ":", "family"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("fonts", True, f"cannot be listed: {error}")
    count = len(set(done.stdout.splitlines()))
    remedy = "" if count else ': text will be boxes; type "apt-get install fonts-dejavu-core"'
    return Finding("fonts", count > 0, f"{count} families{remedy}")


def _one_click() -> Finding:
    centre = (280 / 640, 180 / 480)
    try:
        with _page_server() as url, open_page(Screen(640, 480)) as page:
            page.goto(url, timeout=20_000)
            with WebPointer(page, FakePointer({"the button": [centre]})) as web:
                outcome = web.click("the button", expect_name="Press")
            title = page.title()
    except Exception as error:  # whatever a broken installation throws is the finding
        return Finding("one click", False, f"{type(error).__name__}: {str(error)[:300]}")
    good = outcome.ok and title == "pressed"
    return Finding(
        "one click",
        good,
        f"{outcome.status} in {outcome.timings['total']:.2f} s {outcome.message}".strip(),
    )


@contextmanager
def _page_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(_PAGE)))
            self.end_headers()
            self.wfile.write(_PAGE)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    ).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
