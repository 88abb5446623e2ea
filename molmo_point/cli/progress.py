"""Spinners and progress bars on stderr, for people; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")


def spinner(words: str, *, quiet: bool) -> AbstractContextManager[object]:
    """Show that something is going on that has no known length."""
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        return nullcontext()
    # Redirected, a library's own bar on stderr would be held back until the end of its line, and stdout would go to stderr.
    return Live(
        Spinner("dots", words),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def progress(items: Sequence[Item], words: str, *, quiet: bool) -> Iterable[Item]:
    """Go through the items under a bar that says how many of them are done, and how long the rest will take."""
    from rich.console import Console

    if quiet or len(items) < 2 or not Console(stderr=True).is_terminal:
        return items
    return _with_bar(items, words)


def _with_bar(items: Sequence[Item], words: str) -> Iterator[Item]:
    with bar() as shown:
        yield from shown.track(items, description=words)


def bar() -> Progress:
    """Return a bar on stderr with done/total, rate, time spent and time left; nothing is shown where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f}/s")

    console = Console(stderr=True)
    # Results are printed while the bar stands. On the same terminal they must go above it; in a pipe they must stay in the pipe.
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )
