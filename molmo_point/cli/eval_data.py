"""`molmo-point eval DATA`: accuracy on labelled images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from molmo_point.atomic_write import write_atomic
from molmo_point.cli.progress import bar
from molmo_point.datasets import LabelledData, read_labelled
from molmo_point.datasets.labelled import summary
from molmo_point.datasets.regions import labelled_examples
from molmo_point.errors import UsageError
from molmo_point.wording import counted

if TYPE_CHECKING:
    from molmo_point.evaluate.data_report import DataReport
    from molmo_point.evaluate.report import Report
    from molmo_point.examples import Example
    from molmo_point.pointer import Pointer

COMPARE = "compare"
"""In the place of DATA: two reports follow."""


def read_data(
    path: Path, images: Path | None, skip_bad: bool, layout: str | None = None
) -> LabelledData:
    """Read labelled images, and say on stderr what is left out. Arguments and errors as of `read_labelled`."""
    data = read_labelled(path, images=images, skip_bad=skip_bad, layout=layout)
    if data.skipped:
        sys.stderr.write(f"{path}: {summary(data.skipped)}\n")
    return data


def evaluate_data(
    pointer: Pointer, data: LabelledData, path: Path, timeout_s: float, folder: Path | None
) -> DataReport:
    """Ask every question that points answer, with a progress bar on stderr, and let the scorers of its layout judge.

    Args:
        data, path: What was read, and from where.
        folder: Write the page and its JSON twin here, too.

    Raises:
        UsageError: There is none.
    """
    from molmo_point.datasets.manifest import manifest
    from molmo_point.evaluate.data_report import data_report
    from molmo_point.evaluate.run import evaluate
    from molmo_point.evaluate.scorers.table import scorers_for

    read = manifest(path, data)
    sys.stderr.write(f"{read}\n")
    examples = list(labelled_examples(data.items))
    left = len(data.items) - len(examples)
    if not examples:
        raise UsageError(
            "the data hold no question that points answer: answers in words are not scored"
        )
    if left:
        sys.stderr.write(f"{counted(left, 'answer')} in words not scored\n")
    with bar() as shown:
        task = shown.add_task("questions", total=len(examples))
        report = evaluate(
            pointer,
            examples,
            timeout_s=timeout_s,
            scorers=scorers_for(data.layout),
            progress=lambda _: shown.advance(task),
        )
    made = data_report(report, read, scorers_for(data.layout))
    if folder is not None:
        _write_page(made, folder, examples)
    return made


def _write_page(report: DataReport, folder: Path, examples: Sequence[Example]) -> None:
    from molmo_point.evaluate.report_page import report_page

    images = {(example.source, example.query): example.image for example in examples}
    page = report_page(report, lambda outcome: images.get((outcome.source, outcome.query)))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "report.json", report.model_dump_json(indent=1) + "\n")
    write_atomic(folder / "report.html", page)
    sys.stderr.write(f"wrote {folder / 'report.html'} and {folder / 'report.json'}\n")


def show_comparison(
    word: Path | None, paths: Sequence[Path], as_json: bool, out: Path | None
) -> None:
    """Print how two reports differ, and write it as JSON to `out`.

    Raises:
        UsageError: Not the word compare and two reports.
    """
    from molmo_point.evaluate.compare_reports import compare_reports, read_report

    if str(word) != COMPARE or len(paths) != 2:
        raise UsageError(
            "expected one DATA, or the word compare and two reports: molmo-point eval compare A.json B.json"
        )
    comparison = compare_reports(*(read_report(path) for path in paths))
    text = comparison.model_dump_json(indent=1)
    if out is not None:
        write_atomic(out, text + "\n")
    typer.echo(text if as_json else comparison.table())


def show_report(report: Report, as_json: bool, out: Path | None) -> None:
    """Print a report, and write it as JSON to `out`."""
    text = report.model_dump_json(indent=1)
    if out is not None:
        write_atomic(out, text + "\n")
    typer.echo(text if as_json else report.table())
