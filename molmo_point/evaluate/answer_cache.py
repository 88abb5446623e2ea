"""Answers saved on disk, so that an interrupted or extended calibration asks only new questions."""

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
from molmo_point.text_files import json_lines, read_text

ANSWERS_FILE = "answers.jsonl"

Answered = tuple[Pointing, "list[Floats | None]"]
"""A pointing, and for each of its points the hidden features [2 D] of the score calibration, or None."""


class AnswerCache:
    """A JSON Lines file of answers; a line that a crash cut short is ignored.

    Args:
        path: The file; created with its folder at the first answer.
        model: Identity of the model: its name and its files. Answers of other models in the file are not used.

    Raises:
        UsageError: The file cannot be read.
    """

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
        self._model = model
        self._known: dict[str, Answered] = {}
        self._asked: Counter[str] = Counter()
        try:
            lines = list(json_lines(read_text(path))) if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the saved answers {path} cannot be read: {error}") from error
        for _, line in lines:
            try:
                fields = json.loads(line)
                states = [_unpacked(state) for state in fields["states"]]
                self._known[fields["key"]] = Pointing.model_validate(fields["pointing"]), states
            except (ValueError, KeyError, TypeError, ValidationError):
                continue

    def __len__(self) -> int:
        return len(self._known)

    def get_or_ask(self, example: Example, ask: Callable[[Example], Answered]) -> Answered:
        """Return the saved answer to a question, or ask and save it.

        A question that is in the data set twice is asked twice.

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
        """Return a digest of model, mode, query and pixels; the expected answer is no part of it and may be corrected later."""
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
