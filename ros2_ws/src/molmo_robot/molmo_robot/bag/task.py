"""The task of a run over a recording and its summary: `Selection`, `Task`, `Summary`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from molmo_point.errors import UsageError


@dataclass(frozen=True)
class Selection:
    """Which images are answered.

    Attributes:
        every: Every nth image.
        start_s: Seconds after the recording's begin.
        end_s: Seconds after the recording's begin; None for its end.
        at_s: Instead of every nth: the first image at or after each of these seconds.
    """

    every: int = 1
    start_s: float = 0.0
    end_s: float | None = None
    at_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"--every: expected at least 1, got {self.every}")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise UsageError(f"--end must be after --start, got {self.start_s} to {self.end_s}")

    def places(self, seconds: Sequence[float]) -> list[int]:
        """Return the indices of the chosen images, given the log time of each in seconds after the begin."""
        if self.at_s:
            first = (next((i for i, s in enumerate(seconds) if s >= at), None) for at in self.at_s)
            return sorted({i for i in first if i is not None})
        end = float("inf") if self.end_s is None else self.end_s
        inside = [i for i, s in enumerate(seconds) if self.start_s <= s <= end]
        return inside[:: self.every]


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        images: Answered, or failed.
        resumed: Number of them taken from an earlier run.
        points: Found in all of them.
        failures: Images without a whole answer, and why.
        warnings: Other remarks about the run.
        placed: Points with a position in metres.
        unplaced: Why the others have none: a count, the status, and the first reason.
    """

    images: int
    resumed: int
    points: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    placed: int = 0
    unplaced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """One run.

    Attributes:
        recording: The input.
        out: `NAME.mcap`, or a folder.
        image: Topic of the images.
        query: What to point to.
        selection: Which images.
        prefix: Result topics are `prefix/points` and so on.
        storage: Of a folder.
        timeout_s: For each answer.
        identity: What else has to be the same to resume an interrupted run (model, parameters).
    """

    recording: Path
    out: Path
    image: str
    query: str
    selection: Selection = Selection()
    prefix: str = "/molmo_point"
    storage: str = "mcap"
    timeout_s: float = 600.0
    identity: str = ""

    def resume_path(self) -> Path:
        """Path of the resume log."""
        return self.out.with_name(self.out.name + ".answers.jsonl")

    def fingerprint(self) -> dict[str, object]:
        """What an interrupted run must share with this one, to be resumed by it."""
        files = sorted(self.recording.glob("*")) if self.recording.is_dir() else [self.recording]
        states = [f.stat() for f in files if f.is_file()]
        return {
            "recording": str(self.recording.resolve()),
            "bytes": sum(state.st_size for state in states),
            "modified": max((state.st_mtime_ns for state in states), default=0),
            "image": self.image,
            "query": self.query,
            "identity": self.identity,
        }
