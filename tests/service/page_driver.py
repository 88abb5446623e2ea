"""What tests of the web page share: the browser's flags, a fake model, and what a user does."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from molmo_point.errors import QueryError
from molmo_point.points import Point
from molmo_point.testing import FakePointer

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]  # fmt: skip
MUG = Point(x=0.25, y=0.5, label="mug", score=0.9, covariance=(4e-4, 1e-4, 6e-4))

Visit = Callable[..., Any]
"""Open the page of a server of its own."""


def pointer() -> FakePointer:
    cups = [Point(x=0.5, y=0.5, label="cup"), Point(x=0.99, y=0.01, label="cup", score=0.25)]
    return FakePointer(
        {"mug": [MUG], "cup": cups, "broken": QueryError("this cannot be asked")},
        texts={"What is it?": "A dispatcher.", "<b>x</b>": "<i>bold?</i>"},
    )


def show(page: Any, photo: Path) -> None:
    page.set_input_files("#file", photo)
    page.locator("#image").wait_for(state="visible")


def ask(page: Any, text: str) -> None:
    page.fill("#query", text)
    page.keyboard.press("Enter")


def done(page: Any, words: str) -> None:
    page.locator("#status", has_text=re.compile(words)).wait_for()


def marks(page: Any) -> list[tuple[float, float]]:
    """Where the points are drawn, in parts of the image as the browser lays it out."""
    box = page.locator("#image").bounding_box()
    found = []
    for circle in page.locator("#overlay .core").all():
        at = circle.bounding_box()
        x = (at["x"] + at["width"] / 2 - box["x"]) / box["width"]
        y = (at["y"] + at["height"] / 2 - box["y"]) / box["height"]
        found.append((round(x, 3), round(y, 3)))
    return found
