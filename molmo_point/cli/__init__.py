"""The command line, `molmo-point`: results on stdout, talk on stderr.

Exit codes: 0 found, 1 failed, 2 the user's mistake, 3 nothing there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from molmo_point.errors import PointError, UsageError
from molmo_point.install import import_failure

FOUND, FAILED, MISTAKE, NOTHING = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code.

    Args:
        arguments: Without the program's name; None takes those of the process. `--debug` may stand anywhere among them.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    ours = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in ours or os.environ.get("MOLMO_POINT_DEBUG", "") not in ("", "0")
    if "--debug" in ours:
        words.remove("--debug")
    try:
        _run(words)
    except PointError as error:
        if debug:
            raise
        sys.stderr.write(f"molmo-point: {error}\n")
        sys.exit(MISTAKE if isinstance(error, UsageError) else FAILED)
    sys.exit(FOUND)


def _run(words: list[str]) -> None:
    for package in ("typer", "rich"):
        try:
            __import__(package)
        except ImportError as error:
            raise import_failure(error, package, "", "The molmo-point command") from error
    from molmo_point.cli.app import build

    build()(args=words, prog_name="molmo-point")
