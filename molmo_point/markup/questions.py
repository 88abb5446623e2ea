"""The questions that make Molmo write points, and the label it will most likely give them."""

from __future__ import annotations

import re

from molmo_point.errors import QueryError

_INSTRUCTION = re.compile(
    r"(?:please )?(?:point (?:to|at|out)|how many|count (?:the|all|every)|locate|show me)\b", re.I
)


def point_prompt(query: str) -> str:
    """Return the question that makes Molmo point: 'Point to red mugs' for 'Red mugs'.

    Labels are lower-cased, as in training. A query that already is a question or an instruction ('Where is the CAT?',
    'Point to the dog') is passed on word for word.

    Raises:
        QueryError: `query` is blank.
    """
    text = _checked(query)
    return text if _is_question(text) else f"Point to {text.lower()}"


def count_prompt(query: str) -> str:
    """Return the question that makes Molmo count by pointing: 'How many boats are there?' for 'boats'.

    Lower-casing, questions and errors are those of `point_prompt`.
    """
    text = _checked(query)
    return text if _is_question(text) else f"How many {text.lower()} are there?"


def guess_label(query: str) -> str:
    """Return the label Molmo most likely writes for `query`, by the rule of its training data.

    A label comes back in lower case, a question word for word. Good for drafts, and to name points whose own label has not
    been written yet; the label that counts is the one in the text.

    Raises:
        QueryError: `query` is blank.
    """
    text = _checked(query)
    return text if _is_question(text) else text.lower()


def _is_question(text: str) -> bool:
    return text.endswith("?") or _INSTRUCTION.match(text) is not None


def _checked(query: str) -> str:
    text = query.strip()
    if not text:
        raise QueryError("the query is empty: say in a few words what to look for")
    return text
