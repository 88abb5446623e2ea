"""Plot the log of a run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from molmo_point.install import import_failure
from molmo_point.train.progress import LOG_FILE, RATIOS

CURVES_FILE = "curves.png"

TITLES = {
    "cells": "image tokens on a thing with the right class",
    "ground": "image tokens on background with the right class",
    "letters": "letters of labels read from image tokens",
    "words": "known words read from image tokens",
    "asked_letters": "letters of the label asked for, read before looking",
    "numbers": "coordinates within 2 %",
    "absent": '"There are none." where absent',
    "present": "an answer where present",
    "sure": "points judged right or wrong before they are written",
    "written": "points judged right or wrong after they are written",
}


@dataclass(frozen=True)
class CurveStyle:
    """What is plotted of a log.

    Attributes:
        x: Key of the horizontal axis, and its title.
        panels: Plots above each other: the title of the vertical axis, and the titles of the curves by their keys.
        shares: Whether a panel shows shares of 0-1, for each panel.
    """

    x: tuple[str, str]
    panels: tuple[tuple[str, Mapping[str, str]], ...]
    shares: tuple[bool, ...]


TRAINING = CurveStyle(
    ("cpu_s", "CPU-seconds"),
    (("share right, held-out images", {name: TITLES[name] for name in RATIOS}),),
    (True,),
)

FINETUNING = CurveStyle(
    ("step", "step"),
    (
        (
            "loss per token",
            {"training_loss": "training images", "held_out_loss": "held-out images"},
        ),
        ("F1", {"held_out_f1": "points on held-out images"}),
    ),
    (False, True),
)


def draw_curves(folder: str | Path, style: CurveStyle = TRAINING) -> Path:
    """Plot log.jsonl into curves.png; return its path. Curves without values are left out."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise import_failure(
            error, "matplotlib", "train", "Drawing the curves of a training run"
        ) from error
    folder = Path(folder)
    rows = [
        json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
    ]
    figure = Figure(figsize=(9, 4 + len(style.panels)), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(style.panels), 1, sharex=True, squeeze=False)[:, 0]
    key, title = style.x
    for axes, (label, curves), share in zip(every, style.panels, style.shares, strict=True):
        for name, words in curves.items():
            points = [(row[key], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=words)
        for row, following in itertools.pairwise(rows):
            if row.get("stage") != following.get("stage"):
                axes.axvline(row[key], color="0.7", linewidth=1)
                axes.text(row[key], 0.02, f" {following['stage']}", color="0.4", rotation=90)
        axes.set(ylabel=label, **({"ylim": (0, 1.02)} if share else {}))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(loc="best", fontsize="small")
    every[-1].set(xlabel=title)
    target = folder / CURVES_FILE
    partial = target.with_suffix(".part.png")
    figure.savefig(partial, dpi=110)
    partial.replace(target)
    return target
