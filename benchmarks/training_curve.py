"""Accuracy of several checkpoints over their training cost in CPU-hours, and its extrapolation.

    molmo-point eval --model runs/a/checkpoint --table tables/a ; cp runs/a/checkpoint/cost.json tables/a/
    python -m benchmarks.training_curve curve.png tables/a tables/b ...

Prints and plots a table, extrapolated by HOURS along a straight line in log odds over the logarithm of the hours through the last
checkpoints, as is usual while neither data nor model limits the accuracy. A prediction, not a measurement.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import table
from molmo_point.engine.score_calibration import logit, sigmoid
from molmo_point.evaluate.table import Row, Table
from molmo_point.train.compute_cost import read_cost

HOURS = 10.0
LAST = 3
"""Number of checkpoints that the line is fitted to; earlier ones had other data and fewer crops."""

SHOWN = {
    ("things", "F1 of points on the asked things"): "all kinds, F1",
    ("things", "there, but denied"): "all kinds, denied",
    ("pages", "click inside"): "small pages, clicks inside",
    ("pages", "absent right"): "small pages, absent right",
    ("pages-unseen", "click inside"): "words never seen, clicks inside",
    ("pages-640", "click inside"): "640×480, clicks inside",
}


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint's cost in CPU-hours and its results."""

    name: str
    hours: float
    rows: dict[tuple[str, str], Row]

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Read a folder with table.json and cost.json."""
        made = Table.model_validate_json((folder / "table.json").read_text(encoding="utf-8"))
        hours = sum(row["cpu_s"] for row in read_cost(folder)) / 3600
        return cls(folder.name, hours, {(row.world, row.what): row for row in made.rows})

    def value(self, key: tuple[str, str]) -> float:
        """One result; NaN where it was not measured."""
        row = self.rows.get(key)
        return float("nan") if row is None or row.value is None else row.value


def expected(checkpoints: Sequence[Checkpoint], key: tuple[str, str], hours: float) -> float:
    """Go on along the line through the last checkpoints."""
    last = checkpoints[-LAST:]
    x = np.log([one.hours for one in last])
    slope, level = np.polyfit(x, [logit(one.value(key)) for one in last], 1)
    return sigmoid(float(slope * np.log(hours) + level))


def draw(checkpoints: Sequence[Checkpoint], out: Path) -> None:
    """Draw the results over the hours, their expectation dashed, floors as bars on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    end = checkpoints[-1].hours + HOURS
    for number, (key, title) in enumerate(SHOWN.items()):
        colour = f"C{number}"
        hours = [one.hours for one in checkpoints]
        axes.plot(hours, [one.value(key) for one in checkpoints], ".-", color=colour, label=title)
        more = np.linspace(hours[-1], end, 20)
        axes.plot(more, [expected(checkpoints, key, h) for h in more], "--", color=colour, lw=1)
        floor = checkpoints[-1].rows[key].floor
        if floor is not None:
            axes.plot([end * 0.985, end * 1.015], [floor, floor], color=colour, lw=3)
    axes.set(xlabel="CPU-hours of training", ylabel="share", ylim=(0, 1), xlim=(0, end * 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc=(0.5, 0.12))
    figure.savefig(out, dpi=110)


def main() -> None:
    """Print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    arguments = parser.parse_args()
    checkpoints = sorted(map(Checkpoint.read, arguments.folders), key=lambda one: one.hours)
    end = checkpoints[-1].hours + HOURS
    rows = [
        [
            title,
            *(f"{one.value(key):.3f}" for one in checkpoints),
            f"{expected(checkpoints, key, end):.2f}",
            str(checkpoints[-1].rows[key].floor),
        ]
        for key, title in SHOWN.items()
    ]
    named = [f"{one.name}, {one.hours:.1f} h" for one in checkpoints]
    table("Training", ["what", *named, f"expected, {end:.0f} h", "floor"], rows)
    draw(checkpoints, arguments.out)


if __name__ == "__main__":
    main()
