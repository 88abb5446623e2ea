"""The command line, `molmo-point`: results on stdout, messages on stderr.

Exit codes: 0 found or done; 1 failed, or an answer is incomplete; 2 the user's mistake; 3 nothing there.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from molmo_point.cli.exit_codes import FAILED, FOUND, MISTAKE, NOTHING
from molmo_point.errors import PointError, UsageError
from molmo_point.install import failed_import, import_failure


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
    if words == ["version"]:
        words = ["--version"]
    from molmo_point.cli.output import guarded_stdout

    # At the end Python collects garbage among all objects of torch, which takes most of a second and frees nothing of use.
    atexit.register(gc.freeze)
    code: int | str | None = FOUND
    with guarded_stdout() as stdout:
        try:
            _run(words, debug)
        except SystemExit as left:
            code = left.code
        except PointError as error:
            if debug:
                raise
            _complain(str(error))
            code = MISTAKE if isinstance(error, UsageError) else FAILED
        except OSError as error:
            if debug or not stdout.lost():
                raise
            _complain(f"the result could not be written to stdout: {error.strerror or error}")
            code = FAILED
        if code in (FOUND, NOTHING, None) and (lost := stdout.lost()):
            _complain(f"the result could not be written to stdout: {lost.strerror or lost}")
            code = FAILED
    sys.exit(code)


def _complain(text: str) -> None:
    if sys.stderr is not None:
        from molmo_point.cli.output import visible

        shown = visible(text, keep="\n")
        sys.stderr.write(f"molmo-point: {shown}\n")


def _silence_others() -> None:
    """Silence warnings of other packages about matters that the user of a command cannot change; `--debug` shows them."""
    for package in ("torch", "cv2", "huggingface_hub"):
        warnings.filterwarnings("ignore", module=rf"{package}(\.|$)")
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)


def _run(words: list[str], debug: bool) -> None:
    for package in ("typer", "rich"):
        try:
            __import__(package)
        except Exception as error:
            raise import_failure(error, package, "", "The molmo-point command") from error
    verb = next((word for word in words if not word.startswith("-")), "")
    extra = ""
    try:
        # Inside, because it imports pydantic: a broken one is a sentence, too.
        from molmo_point.cli.app import COMMANDS, Command, command

        extra = COMMANDS.get(verb, Command("engine")).extra or "engine"
        with warnings.catch_warnings():
            if not debug and not sys.warnoptions:
                _silence_others()
            command()(args=words, prog_name="molmo-point")
    except Exception as error:
        broken = None if isinstance(error, PointError) else failed_import(error)
        if broken is None:
            raise
        raise import_failure(error, broken, extra, f"molmo-point {verb}".rstrip()) from error
