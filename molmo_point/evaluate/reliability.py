"""Plots of score calibration: the reliability diagram and the coverage of the ellipses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molmo_point.engine.score_calibration import Floats
from molmo_point.evaluate.score_quality import Quality, Samples, measure
from molmo_point.install import import_failure

_PART: dict[str, Any] = {"linewidth": 1, "alpha": 0.6}
"""Style of the line of one test set."""

MIN_BIN = 20
"""Bins of a test set with fewer points are not drawn."""


def draw_reliability(
    samples: Samples, quality: Quality, path: Path, *, parts: Mapping[str, Samples] | None = None
) -> Path:
    """Draw both plots side by side into a PNG; return its path.

    Args:
        samples: Calibrated samples that were not used for fitting; quality: their measures.
        parts: The same samples by test set; several get a fainter line each.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise import_failure(error, "matplotlib", "train", "Drawing reliability plots") from error
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    named = parts if parts is not None and len(parts) > 1 else {}
    for name, part in named.items():
        bins = [(score, share) for score, share, count in measure(part).bins if count >= MIN_BIN]
        left.plot(*np.array(bins).reshape(-1, 2).T, label=name, **_PART)
        right.plot(*_covered(part), label=name, **_PART)
    _reliability(left, quality)
    _coverage(right, samples)
    if named:
        left.legend(loc="lower right")
        right.legend(loc="lower right")
    figure.savefig(path, dpi=110)
    return path


def _reliability(axes: Any, quality: Quality) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    scores, shares, sizes = (np.array(column) for column in zip(*quality.bins, strict=True))
    errors = 1.96 * np.sqrt(shares * (1 - shares) / sizes)
    axes.errorbar(scores, shares, yerr=errors, fmt="ko", capsize=3)
    for score, share, size in quality.bins:
        axes.annotate(f"{size}", (score, share), xytext=(6, -10), textcoords="offset points")
    axes.set(
        xlabel="score",
        ylabel="share of points on the asked thing",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title=f"{quality.points} points, calibration error {quality.expected_calibration_error:.3f}",
    )


def _covered(samples: Samples) -> tuple[Floats, Floats]:
    """Return nominal coverages, and the shares of hits whose thing's center lies in the ellipse of that coverage."""
    distance = np.array(
        [
            sum(o * o / v for o, v in zip(sample.offset, sample.variances, strict=True))
            for sample in samples.points
            if sample.offset is not None
        ]
    )
    nominal = np.linspace(0.02, 0.98, 49)
    covered = [(distance <= -2 * math.log(1 - share)).mean() for share in nominal]
    return nominal, np.array(covered)


def _coverage(axes: Any, samples: Samples) -> None:
    hits = sum(sample.offset is not None for sample in samples.points)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    axes.plot(*_covered(samples), color="black")
    axes.set(
        xlabel="nominal coverage of the ellipse",
        ylabel="share of things whose center lies in it",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title=f"{hits} points that hit",
    )
