"""The words around a question (molmo.md section 4, molmo2.md 3.4)."""

from __future__ import annotations

from molmo_point.preprocess.tokenizer import Tokenizer


def prompt_tokens(tokenizer: Tokenizer, question: str) -> list[int]:
    """Return the token ids of a single question in the chat format of the checkpoint that the tokenizer belongs to.

    Molmo 2: `<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n` (ChatML). Only these two tokens are control tokens,
    whatever the question says.
    """
    turns = tokenizer.special.turns
    if turns is None:
        return tokenizer.encode(format_prompt(question))
    start, end = turns
    asked, answer = (tokenizer.encode(text) for text in (f"user\n{question}", "assistant\n"))
    return [start, *asked, end, *tokenizer.encode("\n"), start, *answer]


def format_prompt(question: str) -> str:
    """Return the prompt text of a single question in the chat format of the first Molmo models."""
    return f" User: {question} Assistant:"
