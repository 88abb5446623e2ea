"""nano's tokenizer: one token for each known word, for each whole number 0-100 and for each piece of markup; bytes for the rest.

A number up to 100 is one token, and the digit after the decimal point another: ` <point x="61.5"` is ` <point x="`, `61`, `.`,
`5`, `"`. Every text is encoded and decoded without loss, because text without a token of its own is encoded in bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from molmo_point.engine.drafting import NONE
from molmo_point.install import import_failure
from molmo_point.preprocess.tokenizer import (
    END_OF_TEXT,
    IMAGE_COLUMN,
    IMAGE_END,
    IMAGE_PATCH,
    IMAGE_START,
    Tokenizer,
)
from molmo_point.synthetic.pages.labels import label_forms
from molmo_point.synthetic.scenes.kinds import COLOUR_SYNONYMS, COLOURS, all_kinds
from molmo_point.synthetic.scenes.questions import COUNT_TEMPLATES, POINT_TEMPLATES

if TYPE_CHECKING:
    import tokenizers

NUMBERS = 101
"""Whole-number tokens 0-100, whose ids follow each other."""

IMAGE_TOKENS = (IMAGE_START, IMAGE_END, IMAGE_PATCH, IMAGE_COLUMN, "<|image|>")
MOST_POINTS = 60
"""Points of one answer whose ` x12="` is one token; further ones are encoded in smaller pieces."""

SPLIT = (
    r' <points? x[0-9]*="'
    r'|" [xy][0-9]*="'
    r'|" alt="'
    r'|">'
    r"|</points?>"
    r"| ?[A-Za-z]+"
    r"|100|[1-9][0-9]|[0-9]"
    r"|[\s\S]"
)
"""Pre-tokenisation: markup, a word with the space before it, a number up to 100, any other character."""

PHRASES = (
    " User: Point to the Assistant: How many are there? There are none."
    " Counting the shows a total of 1. and of in an all any you your this image picture on with a"
    " leftmost rightmost top bottom largest smallest first last icon"
)


def known_words() -> tuple[str, ...]:
    """Return every word that has a token of its own, sorted."""
    names = [name for kind in all_kinds() for pair in kind.names for name in pair]
    texts = [*names, *COLOURS, *COLOUR_SYNONYMS, *POINT_TEMPLATES, *COUNT_TEMPLATES, PHRASES]
    words = {word for text in texts for word in re.findall(r"[A-Za-z]+", text)}
    return tuple(sorted({*words, *label_forms()}))


@dataclass(frozen=True)
class AnswerTokens:
    """Ids that losses need.

    Attributes:
        first_number: Id of "0"; those of "1" ... "100" follow.
        none: Id of the first token of "There are none."
    """

    first_number: int
    none: int

    @staticmethod
    def of(tokenizer: Tokenizer) -> AnswerTokens:
        """Look the ids up."""
        return AnswerTokens(tokenizer.encode("0")[0], tokenizer.encode(NONE)[0])

    @property
    def numbers(self) -> slice:
        """The logits of the whole numbers."""
        return slice(self.first_number, self.first_number + NUMBERS)


def opening_tokens() -> tuple[str, ...]:
    """Return the tokens before a coordinate: ` <point x="`, `" y="`, ` <points x1="`, `" y1="`, `" x2="` ..."""
    numbered = [f'" {axis}{n}="' for n in range(1, MOST_POINTS + 1) for axis in "xy"]
    return (' <point x="', '" y="', ' <points x1="', *numbered)


def build_tokenizer(words: Iterable[str] | None = None) -> tokenizers.Tokenizer:
    """Return the tokenizer.

    Ids in order: 0-100 (the id of a number is the number), markup, words with the space before them, words without it, the rest
    of the 256 bytes, END_OF_TEXT; then Molmo's five image tokens, which are the input-only rows of the embedding.

    Args:
        words: Words with a token of their own; None = `known_words`.
    """
    try:
        import tokenizers
        from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
    except ImportError as error:
        raise import_failure(error, "tokenizers", "train", "Training a model") from error
    byte_letters = _byte_letters()
    known = known_words() if words is None else tuple(words)
    pieces = [
        *(str(number) for number in range(NUMBERS)),
        *opening_tokens(),
        '" alt="',
        '">',
        "</point>",
        "</points>",
        *(f" {word}" for word in known),
        *known,
    ]
    vocabulary: dict[str, int] = {}
    for piece in pieces:
        vocabulary.setdefault(
            "".join(byte_letters[byte] for byte in piece.encode()), len(vocabulary)
        )
    for letter in byte_letters.values():
        vocabulary.setdefault(letter, len(vocabulary))
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, [], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    specials = (END_OF_TEXT, *IMAGE_TOKENS)
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in specials])
    return tokenizer


def save_tokenizer(tokenizer: tokenizers.Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, and tokenizer_config.json for other programs."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "add_prefix_space": False,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def _byte_letters() -> dict[int, str]:
    """Return the printable character that stands for each byte: GPT-2's table, which ByteLevel uses."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    letters |= {byte: chr(256 + index) for index, byte in enumerate(others)}
    return dict(sorted(letters.items()))
