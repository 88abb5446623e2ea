"""The words around a question (molmo.md section 4): " User: {question} Assistant:"."""

from __future__ import annotations


def format_prompt(question: str) -> str:
    """Return the prompt text of a single question in the chat format of the released models."""
    return f" User: {question} Assistant:"
