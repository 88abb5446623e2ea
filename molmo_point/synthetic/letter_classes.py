"""Letters as classes: the targets of image tokens that show labels."""

from __future__ import annotations

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
"""Class of a letter: its index here plus 1; 0 = no letter, OTHER = any other character."""

OTHER = len(LETTERS) + 1
CLASSES = len(LETTERS) + 2
SLOTS = 8
"""Number of letters of a label that are learned."""


def letter_class(sign: str) -> int:
    """Return the class of a character, upper or lower case."""
    return LETTERS.find(sign.lower()) + 1 or OTHER


def letter_targets(text: str) -> tuple[int, ...]:
    """Return the classes of the first SLOTS letters and digits of a text, 0 after its end."""
    signs = [LETTERS.find(sign) + 1 for sign in text.lower() if sign in LETTERS]
    return tuple((signs + [0] * SLOTS)[:SLOTS])
