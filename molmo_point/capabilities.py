"""What a model can be asked: read by the command line, the server and the web page, so that all of them say the same.

A checkpoint that cannot do everything its architecture could has a `capabilities.json` beside its weights. The published models
have none: they answer free questions and know words without a list. Light: no torch.
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
        photographs: Whether it knows things in photographs.
        knows: What it knows, in a few words; "" where there is nothing to say.
        kinds: Names of the things it was taught; empty where there is no list.
        words: All words it was taught, in small letters; empty where there is no list.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    free_questions: bool = True
    photographs: bool = True
    knows: str = ""
    kinds: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()

    def unknown_words(self, query: str) -> list[str]:
        """Return the words of a query that the model was never taught; none where it has no list.

        Words in quotation marks are text to be read in the image, and need not be known.
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
    """Return what the model of that name can be asked; everything, where nothing is known to the contrary.

    Args:
        model: As `Pointer.model` or a server names it.
    """
    entry = find(model)
    folder = entry.folder() if entry is not None and entry.hub_name is None else None
    return Capabilities() if folder is None else read_capabilities(folder)


@functools.cache
def read_capabilities(folder: Path) -> Capabilities:
    """Read a checkpoint's capabilities.

    Raises:
        CheckpointError: Its file is damaged.
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
    """Refuse a free question to a model that answers none; to point and to count it may be asked in words, too.

    Raises:
        QueryError: It answers no such question; says what to do.
    """
    if not capabilities_of(model).free_questions and instructed(question) is None:
        raise QueryError(
            f"{model} answers no free questions, it points and counts only: ask `point` or `count` for what to look for, "
            "or load a published model (molmo-point models)"
        )


def unknown_note(model: str, query: str) -> str:
    """Return the sentence that tells which words of a query the model never learned; "" where it knows them all."""
    able = capabilities_of(model)
    unknown = able.unknown_words(query)
    if not unknown:
        return ""
    words = ", ".join(f"'{word}'" for word in unknown)
    return (
        f"{model} was never taught {words}: it knows {able.knows} (molmo-point models {model} lists them); "
        "it can only find such a word where it is written in the image"
    )
