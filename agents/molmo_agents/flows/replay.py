"""Do a recorded flow again without a model: the points come from the journal.

The checks are the same as with a model: a recorded point that lies on something else by now is not pressed blindly, and a
step can name what it expects. Where nothing in the layout changed, a replay does what the recording did.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

from molmo_agents.journal import read_steps
from molmo_agents.playwright_types import Json
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import UsageError
from molmo_point.testing import FakePointer

FLOW = "flow.yaml"
FILES = "files.json"


def keep_flow(flow_file: str | Path, folder: str | Path) -> None:
    """Put a copy of the flow beside the journal, for `replay`; it names secrets but holds none."""
    target = Path(folder) / FLOW
    if Path(flow_file).resolve() != target.resolve():
        shutil.copyfile(flow_file, target)
        files = {"folder": str(Path(flow_file).resolve().parent)}
        (Path(folder) / FILES).write_text(json.dumps(files), encoding="utf-8")


def files_of(folder: str | Path) -> Path:
    """Return the folder that uploads of a recorded flow are relative to: where the flow file lay.

    Raises:
        UsageError: What says so is not ours.
    """
    path = Path(folder) / FILES
    if not path.is_file():
        return Path(folder)
    try:
        return Path(json.loads(path.read_text("utf-8"))["folder"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} does not say where the flow's files are: {error}") from error


class Recording:
    """The points of a journal, as a pointer: each query is answered in turn with the points it had.

    Set `web` to the `WebPointer` it serves before the first verb.
    """

    def __init__(self, folder: str | Path) -> None:
        self.web: WebPointer | None = None
        self._points: dict[str, deque[list[list[float]]]] = defaultdict(deque)
        self._viewports: set[tuple[float, float]] = set()
        for step in read_steps(folder):
            self._note(step["outcome"])
            if step.get("viewport"):
                self._viewports.add((float(step["viewport"][0]), float(step["viewport"][1])))
        self._last: dict[str, list[list[float]]] = {}
        self.pointer = FakePointer(self._answer)

    @property
    def viewport(self) -> tuple[int, int] | None:
        """The viewport of the recording in CSS px, or None where no step looked.

        Raises:
            UsageError: The recording has several.
        """
        if len(self._viewports) > 1:
            raise UsageError(
                f"the journal has several viewports, {sorted(self._viewports)}: record it again"
            )
        for width, height in self._viewports:
            return int(width), int(height)
        return None

    def _written(self, query: str) -> str:
        """The words as the journal has them: without secrets."""
        return query if self.web is None else self.web.masked(query)

    def _note(self, outcome: Json) -> None:
        points = outcome.get("points") or ([outcome["point"]] if outcome.get("point") else [])
        if outcome["verb"] == "drag" and len(points) == 2:
            self._points[outcome["query"]].append([points[0]])
            self._points[outcome["parts"][0]["query"]].append([points[1]])
            return
        self._points[outcome["query"]].append(points)

    def _answer(self, image: Any, query: str) -> list[tuple[float, float]]:
        screenshot = self.web.screenshot if self.web is not None else None
        if screenshot is None:
            return []
        query = self._written(query)
        waiting = self._points.get(query)
        # A verb may look several times: the last answer stands until the next step with these words.
        points = waiting[0] if waiting else self._last.get(query, [])
        norm = [screenshot.to_norm(float(x), float(y)) for x, y in points]
        return [(x, y) for x, y in norm if 0 <= x <= 1 and 0 <= y <= 1]

    def next_step(self, query: str) -> None:
        """Say that the step with these words is over."""
        query = self._written(query)
        waiting = self._points.get(query)
        if waiting:
            self._last[query] = waiting.popleft()
