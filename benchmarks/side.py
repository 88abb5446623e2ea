"""One side of a comparison: a worker process, possibly with another Python, that runs commands and returns their times."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any


class Side:
    """A worker process: one command a line on its stdin, one line of JSON back, the first when it is ready.

    Args:
        worker: Its script.
        python: The interpreter.
        arguments: Of the script.
        environment: Variables to set for it.

    Attributes:
        greeting: Its first line.
    """

    def __init__(
        self, worker: Path, python: str, arguments: list[str], **environment: str
    ) -> None:
        self.process = subprocess.Popen(
            [python, str(worker), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.greeting = self._line().strip()

    def run(self, command: str) -> Any:
        """Run a command; return its seconds and the value that is compared."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended before its answer: see its message above")
        return line
