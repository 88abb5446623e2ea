"""Plot the log of a run."""

from __future__ import annotations

import itertools
import json
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


def draw_curves(folder: str | Path) -> Path:
    """Plot held-out accuracies over CPU-seconds from log.jsonl into curves.png; return its path."""
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
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name in RATIOS:
        points = [(row["cpu_s"], row[name]) for row in rows if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=TITLES[name])
    for row, following in itertools.pairwise(rows):
        if row["stage"] != following["stage"]:
            axes.axvline(row["cpu_s"], color="0.7", linewidth=1)
            axes.text(row["cpu_s"], 0.02, f" {following['stage']}", color="0.4", rotation=90)
    axes.set(xlabel="CPU-seconds", ylabel="share right, held-out images", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    if rows:
        axes.legend(loc="lower right", fontsize="small")
    target = folder / CURVES_FILE
    partial = target.with_suffix(".part.png")
    figure.savefig(partial, dpi=110)
    partial.replace(target)
    return target
