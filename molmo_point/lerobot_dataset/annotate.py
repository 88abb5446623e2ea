"""Ask about frames of a dataset, and write it with the answers as a new folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molmo_point.atomic_write import write_atomic
from molmo_point.errors import PointError, UsageError
from molmo_point.lerobot_dataset.frames import Frames
from molmo_point.lerobot_dataset.layout import (
    EVENTS,
    LANGUAGE_FEATURE,
    PERSISTENT,
    Dataset,
    parquet_module,
    read_dataset,
    read_table,
)
from molmo_point.lerobot_dataset.rows import STYLE, Asking, rows_of
from molmo_point.pointer import Pointer

if TYPE_CHECKING:
    import pyarrow as pa

_ALMOST_S = 1e-4
"""Times are float32: two frames a period apart may lie this much nearer."""


@dataclass
class Report:
    """What was written.

    Attributes:
        asked: Number of frames asked about, over all cameras.
        written: Number of answers by kind of row: a keypoint row that had not exactly one point counts as count.
        skipped: (data file, row, camera, reason) of each that has no rows.
    """

    asked: int = 0
    written: dict[str, int] = field(default_factory=dict)
    skipped: list[tuple[str, int, str, str]] = field(default_factory=list)


def annotate(
    source: Path,
    out: Path,
    pointer: Pointer,
    asking: Asking,
    *,
    every_s: float = 1.0,
    cameras: Sequence[str] = (),
    progress: Callable[[int], None] = lambda count: None,
) -> Report:
    """Write `source` with language rows into the new folder `out`, which is complete or not there; `source` is not touched.

    Each frame and camera gets one question at most, as LeRobot's validator demands; those that have one already are left alone.

    Args:
        every_s: Seconds between the frames that are asked about; the first of each episode is always one.
        cameras: Features, by their name or its end; () for all.
        progress: Called with the number of frames asked about so far.

    Raises:
        UsageError: No dataset of version 3, no such camera, or `out` exists.
        MissingExtra: pyarrow, or for videos PyAV, is not installed.
    """
    if out.exists():
        raise UsageError(f"{out} exists: give a folder that does not")
    dataset = read_dataset(source)
    if every_s < 0:
        raise UsageError(f"expected every_s of at least 0, got {every_s!r}")
    frames = {camera: Frames(dataset, camera) for camera in dataset.cameras(cameras)}
    partial = out.with_name(out.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    run = _Run(dataset, pointer, asking, frames, every_s, progress)
    try:
        shutil.copytree(source, partial)
        for name in dataset.tables:
            table = read_table(dataset, name)
            _write(_with_events(table, run.events(name, table)), partial / name)
        _declare(dataset.info, partial / "meta/info.json")
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return run.report


class _Run:
    """Questions about all frames, by turns of queries and kinds."""

    def __init__(
        self,
        dataset: Dataset,
        pointer: Pointer,
        asking: Asking,
        frames: dict[str, Frames],
        every_s: float,
        progress: Callable[[int], None],
    ) -> None:
        self.report = Report()
        self._pointer = pointer
        self._asking = asking
        self._frames = frames
        self._every_s = every_s
        self._progress = progress

    def events(self, name: Path, table: pa.Table) -> list[list[dict[str, Any]]]:
        """Return the events of each row of a data file: those that it had, and the new ones."""
        old = table.column(EVENTS).to_pylist() if EVENTS in table.column_names else []
        events = [list(each or []) for each in old] or [[] for _ in range(table.num_rows)]
        chosen = _chosen(table, self._every_s)
        for camera, frames in self._frames.items():
            free = [row for row in chosen if not _has_question(events[row], camera)]
            for row, image in frames.of(table, free):
                try:
                    if isinstance(image, UsageError):
                        raise image
                    events[row] += self._ask(image, camera)
                except PointError as error:
                    self.report.skipped.append((str(name), row, camera, str(error)))
        return events

    def _ask(self, image: Any, camera: str) -> list[dict[str, Any]]:
        turn = self.report.asked
        self.report.asked += 1
        queries, kinds = self._asking.queries, self._asking.kinds
        query, kind = queries[turn % len(queries)], kinds[turn // len(queries) % len(kinds)]
        pointing = self._pointer.point(image, query)
        self._progress(self.report.asked)
        if kind == "keypoint" and pointing.count != 1:
            kind = "count"
        rows = rows_of(pointing, kind, camera, self._asking)
        self.report.written[kind] = self.report.written.get(kind, 0) + 1
        return rows


def _chosen(table: pa.Table, every_s: float) -> list[int]:
    """Return the rows to ask about: the first of each episode, then one every `every_s` seconds."""
    chosen: list[int] = []
    episode, latest = None, 0.0
    columns = (table.column("episode_index").to_pylist(), table.column("timestamp").to_pylist())
    for row, (number, time_s) in enumerate(zip(*columns, strict=True)):
        if number != episode or time_s - latest >= every_s - _ALMOST_S:
            episode, latest = number, time_s
            chosen.append(row)
    return chosen


def _has_question(events: Sequence[dict[str, Any]], camera: str) -> bool:
    return any(each.get("style") == STYLE and each.get("camera") == camera for each in events)


def _with_events(table: pa.Table, events: list[list[dict[str, Any]]]) -> pa.Table:
    """Return the table with both language columns."""
    import pyarrow as pa

    if PERSISTENT not in table.column_names:
        table = table.append_column(PERSISTENT, pa.array([[] for _ in range(table.num_rows)]))
    if EVENTS in table.column_names:
        table = table.drop_columns([EVENTS])
    # The type is inferred, as LeRobot's own writer does: its loader casts it to the declared features.
    return table.append_column(EVENTS, pa.array(events)).replace_schema_metadata(None)


def _write(table: pa.Table, path: Path) -> None:
    """Write a data file with one row group for each episode, as LeRobot's readers want it."""
    episodes = table.column("episode_index").to_pylist()
    starts = [row for row, each in enumerate(episodes) if not row or each != episodes[row - 1]]
    with parquet_module().ParquetWriter(path, table.schema, compression="snappy") as writer:
        for start, stop in zip(starts, [*starts[1:], len(episodes)], strict=True):
            writer.write_table(table.slice(start, stop - start))


def _declare(info: dict[str, Any], path: Path) -> None:
    features = {**info["features"], PERSISTENT: LANGUAGE_FEATURE, EVENTS: LANGUAGE_FEATURE}
    write_atomic(path, json.dumps({**info, "features": features}, indent=4) + "\n")
