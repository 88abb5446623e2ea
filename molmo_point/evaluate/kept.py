"""Answers kept on disk: a question that was answered is not asked again, after Ctrl+C or with more questions added."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from molmo_point.engine.score_calibration import Floats
from molmo_point.errors import UsageError
from molmo_point.examples import Example
from molmo_point.images import load_image
from molmo_point.points import Pointing

KEPT_FILE = "answers.jsonl"

Answered = tuple[Pointing, "list[Floats | None]"]
"""A pointing, and for each of its points the state that probes read [2 D], or None."""


class KeptAnswers:
    """A JSON Lines file of answers of one model; a line that was cut short by a crash is ignored.

    Args:
        path: The file; made with its folder at the first answer.
        model: Name of the model. Answers of another one in the file are not used.

    Raises:
        UsageError: The file cannot be read.
    """

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
        self._model = model
        self._known: dict[str, Answered] = {}
        self._asked: Counter[str] = Counter()
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the kept answers {path} cannot be read: {error}") from error
        for line in lines:
            try:
                fields = json.loads(line)
                states = [_unpacked(state) for state in fields["states"]]
                self._known[fields["key"]] = Pointing.model_validate(fields["pointing"]), states
            except (ValueError, KeyError, TypeError, ValidationError):
                continue

    def __len__(self) -> int:
        return len(self._known)

    def answered(self, example: Example, ask: Callable[[Example], Answered]) -> Answered:
        """Return the answer to a question, asked now if it was not before; a new one is written down at once.

        A question that stands in a file twice is asked twice.

        Raises:
            UsageError: The file cannot be written.
        """
        same = self._key(example)
        self._asked[same] += 1
        key = f"{same}-{self._asked[same]}"
        if key not in self._known:
            self._known[key] = ask(example)
            self._write(key, self._known[key])
        return self._known[key]

    def _write(self, key: str, answered: Answered) -> None:
        pointing, states = answered
        line = {
            "key": key,
            "pointing": pointing.model_dump(mode="json"),
            "states": [None if state is None else _packed(state) for state in states],
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise UsageError(f"{self._path} cannot be written: {error}") from error

    def _key(self, example: Example) -> str:
        """What makes two questions the same: model, kind, words and pixels; what is right may be corrected later."""
        image = load_image(example.image)
        digest = hashlib.blake2b(
            repr((self._model, example.mode, example.query, image.shape)).encode()
        )
        digest.update(image.tobytes())
        return digest.hexdigest()[:32]


def _packed(state: Floats) -> str:
    return base64.b64encode(np.asarray(state, np.float32).tobytes()).decode()


def _unpacked(text: str | None) -> Floats | None:
    if text is None:
        return None
    return np.frombuffer(base64.b64decode(text), np.float32).astype(np.float64)
