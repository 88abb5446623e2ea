"""The log of a run as a picture."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from molmo_point.install import import_failure
from molmo_point.train.progress import LOG_FILE, RATIOS

CURVES_FILE = "curves.png"

TITLES = {
    "cells": "image tokens on a thing that name it",
    "ground": "image tokens on background that say so",
    "letters": "letters of labels that image tokens spell",
    "words": "known words that image tokens read",
    "asked_letters": "letters of what is asked for, known where it is looked for",
    "numbers": "coordinates within 2 %",
    "absent": '"There are none." where none is',
    "present": "something where something is",
    "sure": "points of which it is known beforehand whether they will be right",
    "written": "points of which it is known behind them whether they are right",
}


def draw_curves(folder: str | Path) -> Path:
    """Draw held-out accuracies over CPU-seconds from log.jsonl into curves.png."""
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
    axes.set(xlabel="CPU-seconds", ylabel="share right, held-out pictures", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    if rows:
        axes.legend(loc="lower right", fontsize="small")
    target = folder / CURVES_FILE
    partial = target.with_suffix(".part.png")
    figure.savefig(partial, dpi=110)
    partial.replace(target)
    return target
