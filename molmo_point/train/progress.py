"""What a run says while it goes: one line on stderr with throughput, one line in the log for each look at held-out pictures."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TextIO

from molmo_point.train.auxiliary_losses import Losses
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
"""Accuracies that are reported: name -> (right, all)."""


class Progress:
    """Reports to a text stream; None is silent.

    Args:
        every_s: Seconds between two lines.
    """

    def __init__(self, stream: TextIO | None, every_s: float = 10.0) -> None:
        self._stream = stream
        self._every_s = every_s
        self._last = time.monotonic()
        self._pictures = 0
        self._losses: dict[str, float] = {}
        self._steps = 0

    def step(
        self, stage: StageRecipe, place: TrainPosition, share: float, losses: Losses, pictures: int
    ) -> None:
        """Take in a step; print a line when it is time."""
        self._pictures += pictures
        self._steps += 1
        for name, part in losses.parts.items():
            self._losses[name] = self._losses.get(name, 0.0) + float(part.detach())
        elapsed = time.monotonic() - self._last
        if elapsed < self._every_s:
            return
        parts = " ".join(
            f"{name} {total / self._steps:.3f}" for name, total in self._losses.items()
        )
        self.note(
            f"{stage.name} {min(share, 1):4.0%}  {place.samples} pictures, {self._pictures / elapsed:.1f}/s, "
            f"{place.cpu_s:.0f} CPU-s, {place.skipped} skipped  loss {parts}"
        )
        self._last, self._pictures, self._steps, self._losses = time.monotonic(), 0, 0, {}

    def filling(self, done: int, total: int) -> None:
        """Report the filling of the cache."""
        if time.monotonic() - self._last >= self._every_s or done == total:
            self.note(f"pictures encoded: {done} of {total}")
            self._last = time.monotonic()

    def checked(
        self, stage: StageRecipe, place: TrainPosition, counts: dict[str, float], folder: Path
    ) -> None:
        """Print and log the accuracies on held-out pictures."""
        row = {
            "stage": stage.name,
            "samples": place.samples,
            "cpu_s": round(place.cpu_s + sum(place.finished_cpu_s), 1),
            "skipped": place.skipped,
            **{
                name: round(counts[right] / counts[every], 4)
                for name, (right, every) in RATIOS.items()
                if counts.get(every)
            },
        }
        with (folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        shown = "  ".join(f"{name} {row[name]:.1%}" for name in RATIOS if name in row)
        self.note(f"held out, {row['cpu_s']:.0f} CPU-s: {shown}")

    def note(self, text: str) -> None:
        """Print a line."""
        if self._stream is not None:
            print(text, file=self._stream, flush=True)
