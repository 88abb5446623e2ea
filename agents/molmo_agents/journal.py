"""The record of what was done: one JSON line and one screenshot with overlays per step, secrets masked.

A folder with `steps.jsonl`, `step-0001.png`, ... Everything in it was already masked when it was written: passwords and named
secrets appear as `<secret>`, in screenshots as black boxes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from molmo_agents.outcome import Outcome
from molmo_agents.overlay import overlay
from molmo_agents.playwright_types import Json
from molmo_point.errors import UsageError
from molmo_point.text_files import json_lines, read_text

VERDICTS = "verdicts.jsonl"
"""Beside the steps: whether each came out as its caller wanted, where somebody said so."""


class Journal:
    """Writes steps into a folder.

    Args:
        folder: Made if need be; an existing journal in it is continued.
        screenshots: Also write a screenshot with overlays for each step that looked at the page.
    """

    def __init__(self, folder: str | Path, *, screenshots: bool = True) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write a journal into {self.folder}: {error}") from error
        self._screenshots = screenshots
        self._path = self.folder / "steps.jsonl"
        self._count = len(read_steps(self.folder)) if self._path.exists() else 0
        self._last: Outcome | None = None

    def write(self, outcome: Outcome) -> Outcome:
        """Write one step; return the outcome with the paths of what was written."""
        self._count += 1
        name = f"step-{self._count:04d}.png"
        artefacts = [str(self._path)]
        if self._screenshots and outcome.screenshot is not None:
            self._draw(outcome, outcome.ok)
            artefacts.append(str(self.folder / name))
        done = outcome.with_(artefacts=tuple(artefacts))
        line: Json = {"step": self._count, "time": time.time()}
        line["picture"] = name if len(artefacts) > 1 else ""
        line["viewport"] = list(outcome.screenshot.viewport) if outcome.screenshot else None
        line["outcome"] = done.model_dump(mode="json")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._last = outcome
        return done

    def judge(self, good: bool, wanted: str) -> None:
        """Say of the latest step whether it came out as its caller wanted, and what that was; its screenshot is coloured so."""
        verdict = {"step": self._count, "good": good, "wanted": wanted}
        with (self.folder / VERDICTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(verdict, ensure_ascii=False) + "\n")
        if self._last is not None and good != self._last.ok:
            self._draw(self._last, good)

    def _draw(self, outcome: Outcome, good: bool) -> None:
        if self._screenshots and outcome.screenshot is not None:
            drawn = overlay(outcome.screenshot, outcome, good)
            (self.folder / f"step-{self._count:04d}.png").write_bytes(drawn)


def read_verdicts(folder: str | Path) -> dict[int, tuple[bool, str]]:
    """Read what `Journal.judge` wrote: number of the step -> whether it came out as wanted, and what that was.

    Raises:
        UsageError: A line that is not one of ours.
    """
    path = Path(folder) / VERDICTS
    if not path.is_file():
        return {}
    verdicts: dict[int, tuple[bool, str]] = {}
    for number, line in json_lines(read_text(path)):
        try:
            entry = json.loads(line)
            verdicts[int(entry["step"])] = (entry["good"] is True, str(entry["wanted"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path}, line {number} is not a verdict: {str(error)[:200]}"
            ) from error
    return verdicts


def read_steps(folder: str | Path) -> list[Json]:
    """Read the steps of a journal.

    Raises:
        UsageError: No journal there, or a line in it that is not one of ours.
    """
    path = Path(folder) / "steps.jsonl"
    if not path.is_file():
        raise UsageError(f"there is no journal in {folder}: expected {path.name} there")
    steps: list[Json] = []
    for number, line in json_lines(read_text(path)):
        try:
            entry = json.loads(line)
            Outcome.model_validate(entry["outcome"])
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}, line {number} is not a step: {str(error)[:200]}") from error
        steps.append(entry)
    return steps
