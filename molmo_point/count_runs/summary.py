"""What a run found, in a few lines."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from molmo_point.count_runs.journal import Entry
from molmo_point.count_runs.results import row_of
from molmo_point.wording import counted


@dataclass
class QuerySummary:
    """The rows of one query.

    Attributes:
        counts: Of the rows whose count is known.
        statuses: Number of rows by status.
        without_interval: Rows with a count and no interval.
        disagree: Rows whose checks disagree with the count.
    """

    counts: list[int] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    without_interval: int = 0
    disagree: int = 0

    def add(self, entry: Entry) -> None:
        row = row_of(entry)
        self.statuses[row["status"]] += 1
        self.disagree += row["agreement"] is False
        if row["count"] is None:
            return
        self.counts.append(row["count"])
        self.without_interval += row["low"] is None

    def line(self, query: str) -> str:
        """Return one line: sum, mean and range of the counts, and the rows without one."""
        unknown = sum(self.statuses.values()) - len(self.counts)
        if self.counts:
            words = (
                f"{sum(self.counts)} in {counted(len(self.counts), 'image')} (mean {statistics.fmean(self.counts):.1f}, "
                f"{min(self.counts)} to {max(self.counts)})"
            )
        else:
            words = "no count"
        if self.without_interval:
            words += "; no intervals: they need a model here whose checkpoint has a calibration of counts"
        if self.disagree:
            words += f"; {counted(self.disagree, 'count')} to check"
        if unknown:
            kinds = ", ".join(
                f"{number} {status}"
                for status, number in sorted(self.statuses.items())
                if status not in ("found", "not_found")
            )
            words += f"; not known in {unknown} ({kinds})"
        return f"{query}: {words}"


def summarize(entries: Iterable[Entry]) -> dict[str, QuerySummary]:
    """Return a summary of each query, in the order of the rows."""
    found: dict[str, QuerySummary] = {}
    for entry in entries:
        found.setdefault(entry.query, QuerySummary()).add(entry)
    return found
