"""`ResumeLog`: the model's answers about a recording, one JSON line each, so that an interrupted run can resume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from molmo_point.errors import UsageError
from molmo_point.points import Pointing

CachedAnswer = tuple[Pointing, float]


class ResumeLog:
    """Answers by the image's place in the recording. Each is on disk before `add` returns.

    Args:
        path: The file; it is made if it is not there.
        task: What is being done; a file of another task is refused.

    Raises:
        UsageError: The file is of another task, or is no resume log.
    """

    def __init__(self, path: Path, task: Mapping[str, object]) -> None:
        self._path = path
        self._answers: dict[int, CachedAnswer] = {}
        if path.exists() and path.stat().st_size:
            self._read(dict(task))
        else:
            path.write_text(json.dumps({"task": task}) + "\n", encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, place: int) -> CachedAnswer | None:
        """Return the answer about the image at a place, with the seconds it took, or None."""
        return self._answers.get(place)

    def add(self, place: int, pointing: Pointing, seconds: float) -> None:
        """Keep an answer."""
        self._answers[place] = (pointing, seconds)
        line = {"place": place, "seconds": seconds, "pointing": pointing.model_dump(mode="json")}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file and keep it."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _read(self, task: dict[str, object]) -> None:
        lines = self._path.read_text(encoding="utf-8").splitlines()
        try:
            found = json.loads(lines[0])["task"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self._path} is no resume log of this command: delete it"
            ) from error
        task = json.loads(json.dumps(task))
        if found != task:
            differing = sorted(k for k in {*found, *task} if found.get(k) != task.get(k))
            raise UsageError(
                f"{self._path} was begun with other {', '.join(differing)}: give the same again to resume, "
                "or delete it to start over"
            )
        kept = [lines[0]]
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                pointing = Pointing.model_validate(entry["pointing"])
                self._answers[int(entry["place"])] = (pointing, float(entry["seconds"]))
            except (json.JSONDecodeError, KeyError, ValidationError):
                break  # the run was cut while this line was written
            kept.append(line)
        self._path.write_text("\n".join(kept) + "\n", encoding="utf-8")
