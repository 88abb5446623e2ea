"""What has come of an answer: its text, its tokens, why it ended."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from molmo_point.points import FinishReason


@dataclass(frozen=True)
class Token:
    """A token of the answer.

    Attributes:
        text: What it adds to the answer.
        logprob: Natural logarithm of its probability.
    """

    text: str
    logprob: float


@dataclass
class Reply:
    """What has come of an answer.

    Attributes:
        text: All pieces so far.
        tokens: With log-probabilities, where they are known; empty otherwise.
        finish_reason: Why it ended; None while it goes on, or where a server did not say.
        prompt_tokens, new_tokens: Numbers of tokens, 0 where a server does not count them.
    """

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    new_tokens: int = 0


Exchange = Generator[str, None, Reply]
"""Yields pieces of text; returns everything that came."""
