"""`molmo-point eval DATA`: accuracy on labelled images."""

from __future__ import annotations

import sys
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
    from molmo_point.evaluate.report import Report
    from molmo_point.pointer import Pointer


def read_data(
    path: Path, images: Path | None, skip_bad: bool, layout: str | None = None
) -> LabelledData:
    """Read labelled images, and say on stderr what is left out. Arguments and errors as of `read_labelled`."""
    data = read_labelled(path, images=images, skip_bad=skip_bad, layout=layout)
    if data.skipped:
        sys.stderr.write(f"{path}: {summary(data.skipped)}\n")
    return data


def report_of(pointer: Pointer, data: LabelledData, timeout_s: float) -> Report:
    """Ask every question that points answer, with a progress bar on stderr.

    Raises:
        UsageError: There is none.
    """
    from molmo_point.evaluate.run import evaluate

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
        return evaluate(
            pointer, examples, timeout_s=timeout_s, progress=lambda _: shown.advance(task)
        )


def show_report(report: Report, as_json: bool, out: Path | None) -> None:
    """Print a report, and write it as JSON to `out`."""
    text = report.model_dump_json(indent=1)
    if out is not None:
        write_atomic(out, text + "\n")
    typer.echo(text if as_json else report.table())
