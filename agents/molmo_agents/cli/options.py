"""What the options of the commands mean, checked before a browser is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from molmo_agents.browser.launch import Screen
from molmo_agents.policy import Secret
from molmo_agents.screen import Box
from molmo_point.errors import UsageError

Url = Annotated[str, typer.Argument(help="Address of the page, http or https.")]
Query = Annotated[str, typer.Argument(help='What to look for, e.g. "the Sign in button".')]
Model = Annotated[
    str,
    typer.Option(
        "--model", help="nano, a model name or folder, or a server (tcp://..., http://...)."
    ),
]
At = Annotated[
    str | None, typer.Option("--at", help="X,Y in 0-1 of the viewport: no model, this point.")
]
Viewport = Annotated[str, typer.Option(help="Viewport in CSS pixels, WIDTHxHEIGHT.")]
Dpr = Annotated[
    float, typer.Option(help="Device pixels per CSS pixel; 2 is a high-density screen.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Allow = Annotated[
    list[str] | None,
    typer.Option("--allow-origin", help="A further origin that the page may go to."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Let a file that exists already be replaced.")
]
Overlay = Annotated[
    Path | None,
    typer.Option("--picture", help="Write the screenshot with the point drawn on it here."),
]


def screen(viewport: str, dpr: float) -> Screen:
    """Read --viewport and --dpr."""
    width, _, height = viewport.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UsageError(f"expected a viewport like 1280x800, got {viewport!r}")
    return Screen(int(width), int(height), dpr)


def region(text: str | None, screen: Screen) -> Box | None:
    """Read --region: CSS px, within the viewport."""
    if text is None:
        return None
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"expected a region like 0,0,640,400, got {text!r}") from None
    if width <= 0 or height <= 0:
        raise UsageError(f"a region needs a width and a height above 0, got {text!r}")
    if x < 0 or y < 0 or x + width > screen.width or y + height > screen.height:
        raise UsageError(
            f"the region {text} does not lie in the viewport of {screen.width}x{screen.height}"
        )
    return Box(x, y, width, height)


def secrets(given: list[str], origins: tuple[str, ...]) -> dict[str, Secret]:
    """Read --secret: values come from the environment."""
    secrets: dict[str, Secret] = {}
    for text in given:
        name, _, variable = text.partition("=")
        value = os.environ.get(variable)
        if not name or not value:
            raise UsageError(
                f"expected --secret NAME=VARIABLE with a variable that is set, got {text!r}"
            )
        secrets[name] = Secret(value, origins)
    return secrets


def writable(path: Path | None, overwrite: bool = False) -> None:
    """Refuse a file that cannot be written, or that is there already and may not be replaced, before anything is done."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: expected a file in a folder that exists")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: there is no permission")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already: give another name, or --overwrite")
