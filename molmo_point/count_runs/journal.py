"""The answers of a run: one JSON line each in points.jsonl, with the operating system before the next question is asked.

A run that is killed loses nothing that was answered: a line that was cut is removed when the run is resumed, and asked again.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from molmo_point.atomic_write import write_atomic
from molmo_point.closing import Closing
from molmo_point.count_runs.items import Item, Key
from molmo_point.errors import PointError, UsageError
from molmo_point.points import Pointing
from molmo_point.wire import ErrorBody, error_from

POINTS_FILE = "points.jsonl"
RUN_FILE = "run.json"
LOCK_FILE = ".lock"
RESULT_FILES = ("counts.csv", "counts.jsonl", "counts.parquet", POINTS_FILE)
LASTING = ("image", "query")
"""Kinds of errors that the same question meets again. After others it is asked again when the run is resumed."""


class RunStopped(PointError):
    """The run cannot go on: its folder cannot be written. What was answered is kept."""

    kind = "run"


@dataclass(frozen=True)
class Entry:
    """One row: an image, a query, and the answer or the error that took its place.

    Attributes:
        file, identity, frame, time_s, version: As in `Item`.
        seconds: From the question to the answer.
        pointing: None where `error` is set.
        error: {"kind": name of the error class, "message": text}, or None.
    """

    file: str
    identity: str
    query: str
    seconds: float
    frame: int | None = None
    time_s: float | None = None
    version: tuple[int, int] | None = None
    pointing: Pointing | None = None
    error: Mapping[str, str] | None = None

    @property
    def key(self) -> Key:
        """What the row is known by."""
        return self.identity, -1 if self.frame is None else self.frame, self.query

    @property
    def answer(self) -> Pointing | PointError:
        """The pointing, or the error as an exception."""
        if self.pointing is not None:
            return self.pointing
        error = self.error or {}
        body = ErrorBody(kind=error.get("kind", ""), message=error.get("message", ""), advice="")
        return error_from(body)

    def line(self) -> bytes:
        """Return it as a line of JSON."""
        fields = {**self.__dict__}
        fields["pointing"] = (
            None if self.pointing is None else self.pointing.model_dump(mode="json")
        )
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Entry:
        """Read a line.

        Raises:
            ValueError: It is none.
        """
        fields = json.loads(line.decode("utf-8", "surrogateescape"))
        if not isinstance(fields, dict):
            raise ValueError("expected an object")
        try:
            if fields.get("pointing") is not None:
                fields["pointing"] = Pointing.model_validate(fields["pointing"])
            if fields.get("version") is not None:
                fields["version"] = (int(fields["version"][0]), int(fields["version"][1]))
            return cls(**fields)
        except (ValidationError, TypeError, LookupError) as error:
            raise ValueError(str(error)) from error

    def answers(self, item: Item) -> bool:
        """Whether the question need not be asked again: answered about the same content, or refused for good."""
        lasting = self.error is None or self.error.get("kind") in LASTING
        return lasting and self.version == item.version


class Journal(Closing):
    """The folder of one run. Safe to use from several threads.

    Args:
        folder: Is made if it is not there.
        settings: What the answers depend on; a folder of another run is refused.

    Raises:
        UsageError: The folder belongs to another run, holds files of the user's under our names, or another process writes to it.
        RunStopped: It cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.folder = folder
        self._mutex = threading.Lock()
        self._places: dict[Key, tuple[int, int]] = {}
        self._settings: dict[str, object] = json.loads(json.dumps(settings))
        self._refuse_foreign()
        self._lock: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(folder)
            self.confirm({})
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            self._read()
        except (OSError, UsageError) as error:
            self._unlock()
            if isinstance(error, UsageError):
                raise
            raise RunStopped(
                f"the folder {folder} cannot be written: {error.strerror or error}; give another with --out"
            ) from error

    @property
    def path(self) -> Path:
        """points.jsonl."""
        return self.folder / POINTS_FILE

    def __len__(self) -> int:
        return len(self._places)

    def confirm(self, settings: Mapping[str, object]) -> None:
        """Add settings that were not known before, such as the model's identity, and compare all with the folder's.

        Raises:
            UsageError: The run was begun with others.
        """
        self._settings |= json.loads(json.dumps(settings))
        path = self.folder / RUN_FILE
        found: dict[str, object] = {}
        if path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                found = {"run.json": "damaged"}
        differing = [
            f"{name} was {found[name]!r}, now {self._settings.get(name)!r}"
            for name in found
            if (name in self._settings or name == "run.json")
            and found[name] != self._settings.get(name)
        ]
        if differing:
            raise UsageError(
                f"{self.folder} holds another run ({'; '.join(differing)}): give another folder with --out, or the same "
                "settings to resume"
            )
        write_atomic(
            path, json.dumps({**found, **self._settings}, ensure_ascii=False, indent=1) + "\n"
        )

    def get(self, key: Key) -> Entry | None:
        """Return the newest entry of a row, or None."""
        with self._mutex:
            place = self._places.get(key)
            return None if place is None else Entry.parse(os.pread(self._file, place[1], place[0]))

    def add(self, entry: Entry) -> None:
        """Write an entry.

        Raises:
            RunStopped: The disk is full, or the folder is gone.
        """
        data = entry.line()
        with self._mutex:
            start = os.fstat(self._file).st_size
            try:
                self._write(data, start)
            except OSError as error:
                raise RunStopped(
                    f"{self.path} cannot be written: {error.strerror or error}; {len(self)} answers are kept: make room and "
                    "run the same command again"
                ) from error
            self._places[entry.key] = (start, len(data))

    def sort(self, keys: Iterable[Key]) -> None:
        """Rewrite the file: the rows of `keys` in their order, then all others; each once."""
        with self._mutex:
            order = [key for key in dict.fromkeys([*keys, *self._places]) if key in self._places]
            partial = self.path.with_name(POINTS_FILE + ".part")
            places: dict[Key, tuple[int, int]] = {}
            at = 0
            with partial.open("wb") as file:
                for key in order:
                    start, length = self._places[key]
                    file.write(os.pread(self._file, length, start))
                    places[key] = (at, length)
                    at += length
            partial.replace(self.path)
            os.close(self._file)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND)
            self._places = places

    def close(self) -> None:
        """Close the file and let others write to the folder."""
        os.close(self._file)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write(self, data: bytes, start: int) -> None:
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            # A part of a line must not stand before a later line.
            os.ftruncate(self._file, start)
            raise

    def _read(self) -> None:
        end = 0
        for entry, start, end in _entries(self.path):
            if entry is not None:
                self._places[entry.key] = (start, end - start)
        os.ftruncate(self._file, end)

    def _refuse_foreign(self) -> None:
        """Never replace files of the user's.

        Raises:
            UsageError: Some have our names, and no run of ours stands beside them.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"--out {self.folder} is a file: give a folder")
        theirs = [name for name in RESULT_FILES if (self.folder / name).exists()]
        if theirs and not (self.folder / RUN_FILE).exists():
            raise UsageError(
                f"{self.folder} already holds {', '.join(theirs)}, and no run of molmo-point: give another folder with --out"
            )


def read_run(folder: Path) -> list[Entry]:
    """Return the rows of a run in the order of its file, each once; nothing is written.

    Raises:
        UsageError: The folder holds no run.
    """
    path = folder / POINTS_FILE
    if not (folder / RUN_FILE).exists() or not path.exists():
        raise UsageError(
            f"{folder} holds no run: expected {RUN_FILE} and {POINTS_FILE} as written by molmo-point count ... --out {folder}"
        )
    entries = {entry.key: entry for entry, _, _ in _entries(path) if entry is not None}
    return list(entries.values())


def _entries(path: Path) -> Iterator[tuple[Entry | None, int, int]]:
    """Yield each whole line as (entry, first byte, end); the entry is None where a crash of the machine damaged the line.

    A last line without its end was being written when the run was killed: it is asked again.
    """
    start = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            end = start + len(line)
            try:
                yield Entry.parse(line), start, end
            except ValueError:
                yield None, start, end
            start = end


def lock_folder(folder: Path) -> int | None:
    """Take the folder for this process; the system lets go of it when the process ends, however it ends.

    Returns:
        A file descriptor that holds the lock; None where the system has no such locks.

    Raises:
        UsageError: Another process has it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise UsageError(
            f"another process counts into {folder}: wait for it, or give another folder with --out"
        ) from None
    return descriptor


def entry_of(item: Item, query: str, answer: Pointing | PointError, seconds: float) -> Entry:
    """Return the row of one answer."""
    pointing = answer if isinstance(answer, Pointing) else None
    error = (
        {"kind": answer.kind, "message": str(answer)} if isinstance(answer, PointError) else None
    )
    return Entry(
        item.file,
        item.identity,
        query,
        round(seconds, 4),
        item.frame,
        item.time_s,
        item.version,
        pointing,
        error,
    )
