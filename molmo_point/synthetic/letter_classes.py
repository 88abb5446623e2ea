"""Letters as classes: what image tokens that show words are taught to spell."""

from __future__ import annotations

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
"""Class of a letter: its index here plus 1; 0 = no letter, OTHER = a sign that is none of these."""

OTHER = len(LETTERS) + 1
CLASSES = len(LETTERS) + 2
SLOTS = 8
"""Letters of a label that every image token on it spells."""


def letter_class(sign: str) -> int:
    """Return the class of a character, large or small."""
    return LETTERS.find(sign.lower()) + 1 or OTHER


def letter_targets(text: str) -> tuple[int, ...]:
    """Return the classes of the first SLOTS letters and digits of a text, 0 behind its end."""
    signs = [LETTERS.find(sign) + 1 for sign in text.lower() if sign in LETTERS]
    return tuple((signs + [0] * SLOTS)[:SLOTS])
