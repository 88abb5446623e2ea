"""A run of `molmo-point count ... --out DIR`: from the words of the command line to the files of the folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from molmo_point.cli.answers import Answer, worst_code
from molmo_point.cli.asking import Asking, complain, report_skipped
from molmo_point.cli.count_inputs import Columns, Counting, collect_counting
from molmo_point.cli.exit_codes import FAILED
from molmo_point.cli.inputs import CollectedImages
from molmo_point.cli.model_options import ModelSelection, open_pointer
from molmo_point.cli.progress import bar
from molmo_point.cli.ray_options import Cluster
from molmo_point.count_runs.journal import Entry, Journal
from molmo_point.count_runs.results import row_of, write_results
from molmo_point.count_runs.run import Counted, Counter
from molmo_point.count_runs.sheet import write_sheets
from molmo_point.count_runs.summary import summarize
from molmo_point.errors import PointError, UsageError
from molmo_point.points import Pointing

if TYPE_CHECKING:
    from molmo_point.count_runs.items import Key
    from molmo_point.count_runs.videos import Every
    from molmo_point.pointer import Pointer, Tiles

JOBS = 4
"""Images asked about at a time, of a server or of each replica of a cluster."""


@dataclass(frozen=True)
class CountRun:
    """A run into a folder.

    Attributes:
        folder: Is made if it is not there.
        where: Which model answers.
        tiles, timeout_s: As in `Pointer.count`.
        jobs: Images asked about at a time; None = JOBS of a server or of each replica, 1 of a model here.
        drawings: Whether to write annotated images.
        cluster: Where replicas of the model answer.
    """

    folder: Path
    where: ModelSelection
    tiles: Tiles
    timeout_s: float | None
    jobs: int | None
    drawings: bool
    as_json: bool
    quiet: bool
    cluster: Cluster = Cluster()  # noqa: RUF009 - frozen

    def go(
        self,
        words: Sequence[str],
        queries: Sequence[str],
        recursive: bool,
        every: Every | None,
        columns: Columns,
    ) -> int:
        """Count everything that the words name; return the exit code.

        Raises:
            PointError: What ends the run. What was answered is kept, and the tables hold it.
        """
        from molmo_point.arguments import check_query

        if self.jobs is not None and self.jobs > 1 and self._is_here:
            raise UsageError(
                "--jobs asks a server about several images at a time: start one with molmo-point serve and add --connect, or add "
                "--ray"
            )
        counting = collect_counting(
            words,
            [check_query(query) for query in queries],
            recursive=recursive,
            every=every,
            columns=columns,
        )
        report_skipped(CollectedImages(skipped=counting.skipped), self.quiet)
        settings = {
            "queries": list(counting.queries),
            "tiles": self.tiles,
            "every": None if every is None else str(every),
        }
        with (
            Journal(self.folder, settings) as journal,
            self._open() as pointer,
        ):
            journal.confirm({"model": self.where.identity(pointer.model)})
            return self._count(pointer, journal, counting)

    @property
    def _is_here(self) -> bool:
        """Whether one model in this process answers."""
        return self.where.connect is None and self.cluster.ray is None

    def _open(self) -> AbstractContextManager[Pointer]:
        if self.cluster.ray is not None:
            return self.cluster.open(self.where, quiet=self.quiet)
        return open_pointer(self.where, quiet=self.quiet)

    def _count(self, pointer: Pointer, journal: Journal, counting: Counting) -> int:
        jobs = self.jobs or (1 if self._is_here else JOBS * self.cluster.range()[1])
        counter = Counter(pointer, journal, self.tiles, self.timeout_s, jobs, self.drawings)
        rows = _Rows(journal, counter)
        asking = Asking(
            "count", counting.queries, True, self.timeout_s, self.as_json, self.quiet, self.tiles
        )
        code: int | None = None
        try:
            for counted in self._watched(counter, counting):
                rows.add(counted)
                for entry in counted.entries:
                    answer = _answer(entry)
                    asking.show(answer)
                    asking.remark(answer)
                    code = worst_code(code, answer.code)
        except (KeyboardInterrupt, PointError):
            self._finish(rows, journal)
            complain(
                f"stopped: {len(rows.keys)} of {counting.total * max(1, len(counting.queries))} rows are in {self.folder}; the "
                "same command goes on"
            )
            raise
        self._finish(rows, journal)
        return FAILED if rows.undrawn else (code or 0)

    def _watched(self, counter: Counter, counting: Counting) -> Iterator[Counted]:
        """Count under a progress bar."""
        with bar() as shown:
            task = shown.add_task("count", total=counting.total or None, visible=not self.quiet)
            for counted in counter.run(counting.items()):
                yield counted
                shown.advance(task)

    def _finish(self, rows: _Rows, journal: Journal) -> None:
        """Write the tables and contact sheets of the rows so far, and say on stderr what was found."""
        try:
            journal.sort(rows.keys)
            write_results(self.folder, rows.entries())
            sheets = (
                write_sheets(self.folder, rows.drawings)
                if self.drawings and not rows.undrawn
                else []
            )
        except OSError as error:
            complain(
                f"the tables in {self.folder} cannot be written: {error.strerror or error}; {len(journal)} answers are kept in "
                f"{journal.path}: make room and run the same command again"
            )
            rows.undrawn = True
            return
        if self.quiet:
            return
        for query, summary in summarize(rows.entries()).items():
            sys.stderr.write(summary.line(query) + "\n")
        again = f", {rows.kept} of them from before" if rows.kept else ""
        more = (
            f", {len(sheets)} contact sheets"
            if len(sheets) > 1
            else ", a contact sheet"
            if sheets
            else ""
        )
        sys.stderr.write(
            f"wrote {len(rows.keys)} rows{again}, {rows.drawn} annotated images{more} in {self.folder}\n"
            f"check and correct them: molmo-point review {self.folder}\n"
        )


class _Rows:
    """What a run has counted so far: keys only, so that a long run takes little memory."""

    def __init__(self, journal: Journal, counter: Counter) -> None:
        self._journal = journal
        self._counter = counter
        self.keys: list[Key] = []
        self.drawings: list[tuple[Path, str]] = []
        self.kept = 0
        self.drawn = 0
        self.undrawn = False

    def add(self, counted: Counted) -> None:
        """Take note of one item."""
        self.keys += [entry.key for entry in counted.entries]
        self.kept += counted.kept
        path = self._counter.drawing_path(counted.item)
        numbers = [row_of(entry)["count"] for entry in counted.entries]
        caption = ", ".join("NA" if number is None else str(number) for number in numbers)
        frame = "" if counted.item.frame is None else f" #{counted.item.frame}"
        self.drawings.append((path, f"{Path(counted.item.file).name}{frame}: {caption}"))
        if counted.undrawn and not self.undrawn:
            complain(f"{counted.undrawn}; rows are not affected")
        self.undrawn |= bool(counted.undrawn)
        self.drawn += self._counter.draw and not counted.undrawn and path.exists()

    def entries(self) -> Iterator[Entry]:
        """Yield the rows in their order."""
        for key in self.keys:
            if (entry := self._journal.get(key)) is not None:
                yield entry


def _answer(entry: Entry) -> Answer:
    name = entry.file if entry.frame is None else f"{entry.file}#{entry.frame}"
    answer = entry.answer
    if isinstance(answer, Pointing):
        return Answer(name, entry.query, pointing=answer)
    return Answer(name, entry.query, error=answer)
