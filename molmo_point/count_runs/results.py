"""The table of a run: counts.csv, counts.jsonl and, with pyarrow, counts.parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from molmo_point.atomic_write import write_atomic
from molmo_point.count_runs.journal import Entry
from molmo_point.points import Status

COLUMNS = (
    "file", "frame", "time_s", "query", "count", "low", "high", "stated_count", "agreement", "absent_probability", "calibrated",
    "looks", "status", "error", "seconds",
)  # fmt: skip
"""count is empty where it is not known; low and high are the 90 % interval; agreement whether the number in the text and the look
at the whole image agree with the count; looks the number of the model's answers, the tiles' included."""

COMPLETE = (Status.FOUND, Status.NOT_FOUND)


def row_of(entry: Entry) -> dict[str, Any]:
    """Return an entry as a row with the keys COLUMNS; what is not known is None."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "file": entry.file,
        "frame": entry.frame,
        "time_s": entry.time_s,
        "query": entry.query,
        "status": "error",
        "seconds": entry.seconds,
    }
    pointing = entry.pointing
    if pointing is None:
        row["error"] = (entry.error or {}).get("message")
        return row
    interval = pointing.count_interval or (None, None)
    tiling = pointing.tiling
    checks = [pointing.count_agrees, None if tiling is None else tiling.agrees]
    known = [check for check in checks if check is not None]
    return row | {
        "count": pointing.count if pointing.status in COMPLETE else None,
        "low": interval[0],
        "high": interval[1],
        "stated_count": pointing.stated_count,
        "agreement": all(known) if known else None,
        "absent_probability": pointing.absent_probability,
        "calibrated": pointing.calibrated,
        "looks": 1 if tiling is None else tiling.looks,
        "status": str(pointing.status),
    }


def write_results(folder: Path, entries: Iterable[Entry]) -> list[Path]:
    """Write the tables, each whole or not at all; return their paths.

    Raises:
        OSError: They cannot be written.
    """
    rows = [row_of(entry) for entry in entries]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    paths = [folder / "counts.csv", folder / "counts.jsonl"]
    for path, content in zip(paths, (text.getvalue(), lines), strict=True):
        write_atomic(path, content.encode("utf-8", "replace").decode())
    if _write_parquet(folder / "counts.parquet", rows):
        paths.append(folder / "counts.parquet")
    return paths


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> bool:
    """Write Parquet; return whether pyarrow is installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return False
    whole, real, text, flag = pa.int64(), pa.float64(), pa.string(), pa.bool_()
    kinds = (text, whole, real, text, whole, whole, whole, whole, flag, real, flag, whole, text, text, real)  # fmt: skip
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
    partial = path.with_name(path.name + ".part")
    pq.write_table(pa.Table.from_pylist(list(rows), schema), partial)
    partial.replace(path)
    return True
