"""What people changed: corrections.jsonl in the folder of a run; of several lines about one row the last counts."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

from pydantic import Field, ValidationError

from molmo_point.count_runs.items import Key
from molmo_point.errors import PointError
from molmo_point.record import Record

FILE = "corrections.jsonl"


class NotSaved(PointError):
    """A correction could not be written."""

    kind = "review"


class MarkedPoint(Record):
    """A point as a person left it.

    Attributes:
        x, y: 0-1 of the image's width and height.
        origin: Index of the model's point that it was; None for one that was added.
    """

    x: float = Field(ge=0, le=1, allow_inf_nan=False)
    y: float = Field(ge=0, le=1, allow_inf_nan=False)
    origin: int | None = Field(default=None, ge=0)


class Correction(Record):
    """The state of one row after a change.

    Attributes:
        points: All points of the row.
        accepted: Whether the person is done with it.
    """

    points: tuple[MarkedPoint, ...]
    accepted: bool = False


class Corrections:
    """The file of corrections. Safe to use from several threads.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._mutex = threading.Lock()
        self._newest: dict[Key, Correction] = {}
        if self.path.exists():
            self._read()

    def get(self, key: Key) -> Correction | None:
        """Return the newest correction of a row, or None."""
        with self._mutex:
            return self._newest.get(key)

    def add(self, key: Key, correction: Correction) -> None:
        """Write a correction; it is on the disk when this returns.

        Raises:
            NotSaved: The disk is full, or the folder cannot be written.
        """
        record = {"row": list(key), **correction.model_dump(mode="json")}
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"
        with self._mutex:
            try:
                with self.path.open("ab") as file:
                    # A line that was cut by a crash ends here.
                    file.write(line if _ends_a_line(self.path) else b"\n" + line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise NotSaved(
                    f"{self.path} cannot be written: {error.strerror or error}; make room, the page tries again"
                ) from error
            self._newest[key] = correction

    def _read(self) -> None:
        for line in self.path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError, ValidationError, LookupError, TypeError):
                record = json.loads(line.decode("utf-8", "surrogateescape"))
                identity, frame, query = record.pop("row")
                self._newest[(identity, frame, query)] = Correction.model_validate(record)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
