"""Progress of a run: lines with throughput and losses on a stream, and a log line for each evaluation on held-out images."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from molmo_point.atomic_write import write_atomic
from molmo_point.train.losses import Losses
from molmo_point.train.recipe import StageRecipe
from molmo_point.train.state import TrainPosition

LOG_FILE = "log.jsonl"

RATIOS = {
    "cells": ("cells_right", "cells"),
    "ground": ("ground_right", "ground"),
    "letters": ("letters_right", "letters"),
    "words": ("words_right", "words"),
    "asked_letters": ("asked_letters_right", "asked_letters"),
    "numbers": ("numbers_near", "numbers"),
    "absent": ("absent_right", "absent"),
    "present": ("present_right", "present"),
    "sure": ("judged_right", "judged"),
    "written": ("written_right", "written"),
}
"""Reported accuracies: name -> (count of right ones, count of all)."""


class Progress:
    """Reports to a text stream; None is silent.

    Args:
        every_s: Seconds between two lines.
    """

    def __init__(self, stream: TextIO | None, every_s: float = 10.0) -> None:
        self._stream = stream
        self._every_s = every_s
        self._last = time.monotonic()
        self._images = 0
        self._losses: dict[str, float] = {}
        self._steps = 0

    def step(
        self,
        name: str,
        share: float,
        position: TrainPosition,
        losses: Sequence[Losses],
        images: int,
    ) -> None:
        """Count a step; print a line every `every_s` seconds.

        Args:
            name: Of the stage.
            share: Used share of its budget.
            losses: Of each part of the step's batch; the parts of a loss add up.
        """
        self._images += images
        self._steps += 1
        for each in losses:
            for key, part in each.parts.items():
                self._losses[key] = self._losses.get(key, 0.0) + float(part.detach())
        elapsed = time.monotonic() - self._last
        if elapsed < self._every_s:
            return
        parts = " ".join(f"{key} {total / self._steps:.3f}" for key, total in self._losses.items())
        self.note(
            f"{name} {min(share, 1):4.0%}  {position.samples} images, "
            f"{self._images / elapsed:.1f}/s, {position.cpu_s:.0f} CPU-s, {position.skipped} skipped  loss {parts}"
        )
        self._last, self._images, self._steps, self._losses = time.monotonic(), 0, 0, {}

    def filling(self, done: int, total: int) -> None:
        """Report how many images of the cache are encoded."""
        if time.monotonic() - self._last >= self._every_s or done == total:
            self.note(f"images encoded: {done} of {total}")
            self._last = time.monotonic()

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Print the accuracies on held-out images: a line of the log."""
        shown = "  ".join(f"{name} {row[name]:.1%}" for name in RATIOS if name in row)
        self.note(f"held out, {row['cpu_s']:.0f} CPU-s: {shown}")

    def note(self, text: str) -> None:
        """Print a line."""
        if self._stream is not None:
            print(text, file=self._stream, flush=True)


def evaluation_row(
    stage: StageRecipe, position: TrainPosition, counts: Mapping[str, float]
) -> dict[str, Any]:
    """Return the line of the log for an evaluation on held-out images."""
    return {
        "stage": stage.name,
        "samples": position.samples,
        "cpu_s": round(position.cpu_s + sum(position.finished_cpu_s), 1),
        "skipped": position.skipped,
        **{
            name: round(counts[right] / counts[every], 4)
            for name, (right, every) in RATIOS.items()
            if counts.get(every)
        },
    }


def append_log(folder: Path, row: Mapping[str, object]) -> None:
    """Append a line to the log of a run."""
    with (folder / LOG_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def drop_log_after(folder: Path, step: int) -> None:
    """Remove the lines of a log behind a step, which a resumed run writes again."""
    path = folder / LOG_FILE
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if json.loads(line).get("step", 0) <= step]
    if len(kept) < len(lines):
        write_atomic(path, "".join(f"{line}\n" for line in kept))
