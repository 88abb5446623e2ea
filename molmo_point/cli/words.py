"""The words on the command line of `point`, `count` and `ask`: which name images, and which is the query."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from molmo_point.cli.inputs import SUFFIXES
from molmo_point.errors import UsageError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def split_arguments(
    words: Sequence[str], queries: Sequence[str], kind: str
) -> tuple[list[str], list[str]]:
    """Tell images and queries apart: `IMAGE... QUERY`, `QUERY IMAGE...` where that is plain, or `--query QUERY IMAGE...`.

    Args:
        words: The positional arguments.
        queries: Those of `--query`; taken as they are.
        kind: What a query is called in messages: "query" or "question".

    Returns:
        The words that name images, and the queries. One that stands among the words is split at commas, unless it is a question.

    Raises:
        UsageError: One of the two is missing, a word is empty, or it cannot be told which is which.
    """
    words = list(words)
    if queries:
        if not words:
            raise UsageError(f"expected at least one image next to --query {queries[0]!r}")
        _refuse_empty(words, "image")
        return words, list(queries)
    if len(words) < 2:
        raise UsageError(
            f"expected images and a {kind}, got {' '.join(map(repr, words)) or 'nothing'}: "
            f'molmo-point ... table.png "the red mug"'
        )
    names, query = _told_apart(words, kind)
    _refuse_empty(names, "image")
    _refuse_unquoted(names, query, words, kind)
    return names, split_queries(query) if kind == "query" else [query]


def split_queries(text: str) -> list[str]:
    """Return the queries of a list with commas, each once; a question is one query, whatever it holds."""
    text = text.strip()
    if text.endswith("?"):
        return [text]
    parts = [part.strip() for part in re.split(r"[,\n]", text)]
    return list(dict.fromkeys(part for part in parts if part)) or [text]


def _told_apart(words: list[str], kind: str) -> tuple[list[str], str]:
    if not names_image(words[-1]):
        return words[:-1], words[-1]
    if not names_image(words[0]):
        return words[1:], words[0]
    raise UsageError(
        f"every argument names an image ({words[0]!r} ... {words[-1]!r}): give the {kind} with --query"
    )


def _refuse_empty(names: list[str], kind: str) -> None:
    if any(not name.strip() for name in names):
        raise UsageError(
            f"one of the {kind} arguments is empty (a variable that is not set?): name a file, or . for the current folder"
        )


def _refuse_unquoted(names: list[str], query: str, words: list[str], kind: str) -> None:
    """Say what is wrong where a query of several words is not in quotes."""
    loose = [word for word in (*names, query) if not _looks_like_path(word)]
    if len(loose) < 2 or query not in (words[0], words[-1]):
        return
    run = words[-len(loose) :] if query == words[-1] else words[: len(loose)]
    if run == (loose if query == words[-1] else [query, *loose[:-1]]):
        raise UsageError(
            f"there is no file {loose[0] if query == words[-1] else loose[1]}; if it belongs to the {kind}: "
            f'that is one argument, put several words in quotes: "{" ".join(run)}"'
        )


def _looks_like_path(word: str) -> bool:
    return (
        names_image(word)
        or os.sep in word
        or glob.has_magic(word)
        or bool(Path(word).suffix and " " not in word)
    )


def names_image(word: str) -> bool:
    """Whether a word names an image rather than being a query: by what it is, or by how it ends."""
    if not word.strip():
        return False
    if word == "-" or word.startswith("data:") or _ADDRESS.match(word):
        return True
    if Path(word).suffix.lower() in SUFFIXES:
        return True
    try:
        return Path(word).exists() or (glob.has_magic(word) and bool(glob.glob(word)))
    except (OSError, ValueError):
        return False
