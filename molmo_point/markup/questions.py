"""The prompts that make Molmo write points, and the label it will most likely give them.

Queries are not empty (`molmo_point.arguments.check_query`).
"""

from __future__ import annotations

import re

_INSTRUCTION = re.compile(
    r"(?:please )?(?:point (?:to|at|out)|how many|count (?:the|all|every)|locate|show me)\b", re.I
)


def point_prompt(query: str) -> str:
    """Return the prompt that makes Molmo point: 'Point to red mugs' for 'Red mugs'.

    Labels are lower-cased, as in training. A query that is a question or an instruction ('Where is the CAT?', 'Point to the
    dog') is returned word for word.
    """
    text = query.strip()
    return text if _is_question(text) else f"Point to {text.lower()}"


def count_prompt(query: str) -> str:
    """Return the prompt that makes Molmo count by pointing: 'How many boats are there?' for 'boats'.

    Lower-casing and questions are handled as in `point_prompt`.
    """
    text = query.strip()
    return text if _is_question(text) else f"How many {text.lower()} are there?"


def guess_label(query: str) -> str:
    """Return the label Molmo most likely writes for `query`, by the rule of its training data.

    A label is returned in lower case, a question word for word. Used for drafts, and for points whose own label is not written
    yet.
    """
    text = query.strip()
    return text if _is_question(text) else text.lower()


def _is_question(text: str) -> bool:
    return text.endswith("?") or _INSTRUCTION.match(text) is not None
