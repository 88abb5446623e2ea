"""Texts of controls: known labels, and made-up words, some of them kept for evaluation."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Literal

import numpy as np

Words = Literal["training", "known", "unseen"]
"""Sets of words: of training; known labels only; or only words that training never sees."""

# fmt: off
ONSETS = (
    "b", "bl", "br", "c", "ch", "cl", "cr", "d", "dr", "f", "fl", "fr", "g", "gl", "gr", "h", "j", "k", "l", "m", "n",
    "p", "pl", "pr", "qu", "r", "s", "sc", "sh", "sl", "sn", "sp", "st", "t", "th", "tr", "v", "w", "y", "z",
)
NUCLEI = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "io", "oa", "oo", "ou")
CODAS = (
    "b", "ck", "d", "f", "g", "l", "ll", "m", "n", "nd", "ng", "nt", "p", "r", "rd", "rk", "rn", "rt", "s", "st", "t",
    "th", "x",
)
# fmt: on

MADE_UP = 0.3
"""Share of made-up words in training, so that reading does not depend on a list."""


def is_kept(word: str) -> bool:
    """Whether a word is kept for evaluation: one of eight, by its hash, in any case."""
    digest = hashlib.blake2b(word.lower().encode(), digest_size=2).digest()
    return int.from_bytes(digest, "big") % 8 == 0


@functools.cache
def known_labels(kept: bool) -> tuple[str, ...]:
    """Return labels of real interfaces: those of training, or those kept for evaluation."""
    text = resources.files(__package__).joinpath("labels.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(line for line in lines if kept == any(is_kept(word) for word in line.split()))


@functools.cache
def label_words() -> tuple[str, ...]:
    """Return every word of training's labels in lower case, sorted: each has a class and tokens of its own."""
    found = (re.findall("[a-z]+", label.lower()) for label in known_labels(kept=False))
    return tuple(sorted({word for words in found for word in words}))


def label_forms() -> tuple[str, ...]:
    """Return every word of `label_words` in lower case and capitalised."""
    return tuple(form for word in label_words() for form in (word, word.capitalize()))


@functools.cache
def _classes() -> dict[str, int]:
    return {word: index for index, word in enumerate(label_words(), start=1)}


def word_classes(text: str) -> tuple[int, ...]:
    """Return the class of every word of a text: its index in `label_words` plus 1, 0 = any other word."""
    return tuple(_classes().get(word, 0) for word in re.findall("[a-z]+", text.lower()))


def made_up(rng: np.random.Generator, kept: bool) -> str:
    """Return a pronounceable made-up word of 3 to 10 letters.

    Args:
        kept: A word that training never draws.
    """
    while True:
        parts = []
        for _ in range(1 + int(rng.integers(3))):
            parts += [_any(rng, ONSETS), _any(rng, NUCLEI)]
            if rng.random() < 0.45:
                parts.append(_any(rng, CODAS))
        word = "".join(parts)
        if 3 <= len(word) <= 10 and is_kept(word) == kept:
            return word


def draw_label(rng: np.random.Generator, words: Words) -> str:
    """Draw the label of one control, one to three words."""
    kept = words == "unseen"
    share = {"training": MADE_UP, "known": 0.0, "unseen": 0.5}[words]
    if rng.random() >= share:
        labels = known_labels(kept)
        return labels[int(rng.integers(len(labels)))]
    count = 1 if rng.random() < 0.75 else 2
    label = " ".join(made_up(rng, kept) for _ in range(count))
    return label.capitalize() if rng.random() < 0.7 else label.title()


def fresh_label(rng: np.random.Generator, words: Words, used: set[str]) -> str:
    """Draw a label that is not on the page yet, and add it to `used` in lower case."""
    while True:
        label = draw_label(rng, words)
        if label.lower() not in used:
            used.add(label.lower())
            return label


def look_alike(rng: np.random.Generator, label: str, words: Words) -> str:
    """Change a label by a letter or a word, so that it looks like the original.

    Args:
        words: The set that new words come from: training never asks for a word of evaluation.
    """
    kept = words == "unseen"
    for _ in range(20):
        parts = label.split()
        if len(parts) > 1 and rng.random() < 0.4:
            parts[int(rng.integers(len(parts)))] = made_up(rng, kept)
        else:
            at = int(rng.integers(len(parts)))
            parts[at] = _misspelled(rng, parts[at])
        changed = " ".join(parts)
        fits = words != "training" or not any(is_kept(part) for part in parts)
        if fits and changed.lower() != label.lower():
            return changed
    return made_up(rng, kept)


def _misspelled(rng: np.random.Generator, word: str) -> str:
    at = int(rng.integers(len(word)))
    letter = "aeiourstlnm"[int(rng.integers(11))]
    draw = rng.random()
    if draw < 0.6:
        return word[:at] + letter + word[at + 1 :]
    if draw < 0.8 or len(word) < 4:
        return word[:at] + letter + word[at:]
    return word[:at] + word[at + 1 :]


def _any(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
