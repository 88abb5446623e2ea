"""The words around a question (molmo.md section 4): " User: {question} Assistant:"."""

from __future__ import annotations

from molmo_point.errors import QueryError

MAX_QUERY_CHARACTERS = 4000
"""Longer questions are refused: 4096 positions hold the picture, the question and the answer."""


def check_query(query: str) -> str:
    """Return the query without outer blanks.

    Raises:
        QueryError: Not text, not UTF-8, empty, or longer than MAX_QUERY_CHARACTERS.
    """
    if not isinstance(query, str):
        raise QueryError(f"expected the query as text, got {type(query).__name__}")
    stripped = query.strip()
    if not stripped:
        raise QueryError("the query is empty: say in a few words what to look for")
    if len(stripped) > MAX_QUERY_CHARACTERS:
        raise QueryError(
            f"the query has {len(stripped):,} characters, the limit is {MAX_QUERY_CHARACTERS:,}: shorten it"
        )
    try:
        stripped.encode()
    except UnicodeEncodeError as error:
        raise QueryError(
            f"the query {stripped!r} is not valid text ({error}): write it in UTF-8"
        ) from None
    return stripped


def wrap(question: str) -> str:
    """Return the prompt text of a single question, as the released models were trained to read it."""
    return f" User: {question} Assistant:"
