"""What a model can be asked: one source for the command line, the server and the web page.

A checkpoint that supports less than its architecture has a `capabilities.json` beside its weights. The published models have
none: they answer free questions, and their vocabulary is not limited to a list.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from molmo_point.checkpoints.catalog import find
from molmo_point.errors import CheckpointError, QueryError
from molmo_point.markup.noun_phrase import instructed, noun_phrase, word_forms

FILE = "capabilities.json"

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|“[^”]*”")


class Capabilities(BaseModel):
    """What a model can be asked.

    Attributes:
        free_questions: Whether it answers questions in text, besides pointing and counting.
        photographs: Whether it recognizes objects in photographs.
        knows: Its subjects in a few words; "" = no limits.
        kinds: Names of the objects it was trained on; empty = no list.
        words: All words it was trained on, in lower case; empty = no list.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    free_questions: bool = True
    photographs: bool = True
    knows: str = ""
    kinds: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()

    def unknown_words(self, query: str) -> list[str]:
        """Return the words of a query that the model was not trained on; [] if it has no list.

        Words in quotation marks are text to be read in the image and are not checked.
        """
        if not self.words:
            return []
        words = re.findall(r"[^\W\d_]+", noun_phrase(_QUOTED.sub(" ", query)))
        return [
            word
            for word in dict.fromkeys(words)
            if len(word) > 1 and not self.words & word_forms(word)
        ]


def capabilities_of(model: str) -> Capabilities:
    """Return the capabilities of a model; no limits if nothing is known of it.

    Args:
        model: Name of the model, as in `Pointer.model`.
    """
    entry = find(model)
    folder = entry.folder() if entry is not None and entry.hub_name is None else None
    return Capabilities() if folder is None else read_capabilities(folder)


@functools.cache
def read_capabilities(folder: Path) -> Capabilities:
    """Return a checkpoint's capabilities; no limits if it has no file.

    Raises:
        CheckpointError: The file is damaged.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Capabilities()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{folder / FILE} cannot be read: {error}") from error
    try:
        return Capabilities.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        raise CheckpointError(f"{folder / FILE}: {problem['loc']}: {problem['msg']}") from error


def check_question(model: str, question: str) -> None:
    """Refuse a free question if the model answers none. Instructions to point or to count are no free questions.

    Raises:
        QueryError: The model answers no free questions; says what to do.
    """
    if not capabilities_of(model).free_questions and instructed(question) is None:
        raise QueryError(
            f"{model} answers no free questions, it points and counts only: ask `point` or `count` for what to look for, "
            "or load a published model (molmo-point models)"
        )


def unknown_note(model: str, query: str) -> str:
    """Return a sentence with the words of a query that the model was not trained on; "" if there are none."""
    able = capabilities_of(model)
    unknown = able.unknown_words(query)
    if not unknown:
        return ""
    words = ", ".join(f"'{word}'" for word in unknown)
    return (
        f"{model} was never taught {words}: it knows {able.knows} (molmo-point models {model} lists them); "
        "it can only find such a word where it is written in the image"
    )
