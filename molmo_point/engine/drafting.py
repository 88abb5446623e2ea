"""Drafts of an answer, so that one pass of the decoder accepts several tokens. A draft never changes an answer.

In `<point x="63.5" y="44.5" alt="red mug">red mug</point>` only the digits carry information: the grammar forces most of the
rest, and the query predicts the label. A draft is fed behind the last accepted token and is accepted as far as the model itself
would have written it (speculative decoding, arXiv 2211.17192, with the grammar as the draft model). Where the grammar leaves a
choice (one point, several or none; another point or the end) all continuations are drafted side by side, as a tree. Free text
uses prompt lookup: the tokens that followed the longest run seen before.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Protocol

from molmo_point.engine.detokenize import Detokenizer
from molmo_point.engine.draft_tree import MAX_DRAFT
from molmo_point.engine.draft_width import DraftWidth
from molmo_point.markup.writer import NONE_TEXT
from molmo_point.pointer import Kind
from molmo_point.preprocess.tokenizer import Tokenizer

NONE = f" {NONE_TEXT}"
"""What the model writes where nothing matches."""
_OPEN_TAG = re.compile(r"<point(s?)((?: [a-z]+\d*=\"[^\"]*\")*)( ?[a-z]*\d*=?\"?[^\">]*)$")
_OPEN_NUMBER = re.compile(r" ([xy])(\d*)=\"(\d*)(\.?)(\d*)$")
_ALT = re.compile(r"<point(s?)(?: [xy]\d*=\"[\d. ]+\")+ alt=\"([^\"]*)\">([^<]*)$")
_NUMBERS = re.compile(r" x\d*=\"")


class Continuations(Protocol):
    """Says what may follow an answer; see `continuations`."""

    def __call__(
        self, text: str, kind: Kind, label: str, *, whole_numbers: bool = False
    ) -> list[str] | None: ...


class GrammarDrafter:
    """Drafts for one answer.

    Args:
        continuations: Of the grammar in which the model writes points.
        label: The label that the model will probably give its points.
        prompt: Token ids of the prompt, which free text often repeats.
        width: Decides which drafts pay; None = all continuations, no digits.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        kind: Kind,
        label: str,
        prompt: Sequence[int],
        continuations: Continuations,
        width: DraftWidth | None = None,
    ) -> None:
        self.width = width
        self._prompt = len(prompt)
        self._continuations = continuations
        self._kind = kind
        self._label = label
        self.encode = functools.lru_cache(maxsize=256)(tokenizer.encode)
        self._whole_numbers = len(tokenizer.encode("63")) == 1
        self._stream = Detokenizer(tokenizer)
        self._lookup = PromptLookup(prompt)
        self._read = 0

    def propose(self, tokens: Sequence[int]) -> list[list[int]]:
        new = tokens[self._read :]
        self._stream.push(new)
        self._lookup.push(new)
        self._read = len(tokens)
        texts = self._continuations(
            self._stream.text, self._kind, self._label, whole_numbers=self._whole_numbers
        )
        if texts is None:
            lookup = self._lookup.propose()
            if self.width is not None:
                lookup = lookup[: self.width.repeated_tokens(len(lookup))]
            return [lookup] if lookup else []
        if not texts and self.width is not None:
            texts = _next_digits(self._stream.text, whole_numbers=self._whole_numbers)
        return self.paying([list(self.encode(text)) for text in texts], tokens)

    def paying(self, drafts: list[list[int]], tokens: Sequence[int]) -> list[list[int]]:
        """Return the drafts that pay behind the answer so far."""
        if self.width is None:
            return drafts
        before = 1 if tokens else self._prompt
        return self.width.chosen(drafts, before=before, max_tokens=MAX_DRAFT)

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._stream.text


def continuations(
    text: str, kind: Kind, label: str, *, whole_numbers: bool = False
) -> list[str] | None:
    """Return the texts that may follow the answer so far.

    Args:
        whole_numbers: The tokenizer writes "63" as one token, so that a decimal point follows any number; otherwise it follows
            two digits.

    Returns:
        What the grammar allows, the likeliest first; [] where nothing can be guessed (digits); None where the text follows no
        grammar.
    """
    if kind == "text" and "<point" not in text:
        return None
    if "<point" not in text:
        return _opening(text, kind)
    total = f" shows a total of {_count(text)}." if kind == "count" else ""
    number = _OPEN_NUMBER.search(text)
    if number is not None:
        plural = "s" if number.group(2) else ""
        ending = f'" alt="{label}">{label}</point{plural}>{total}'
        return _after_digits(number, ending, whole_numbers=whole_numbers)
    body = _ALT.search(text)
    if body is not None:
        plural, alt, inline = body.groups()
        return remainders([f"{alt}</point{plural}>{total}"], inline)
    tag = _OPEN_TAG.search(text)
    if tag is not None:
        return _inside_tag(tag, f' alt="{label}">{label}</point{tag.group(1)}>{total}')
    if total:
        return remainders([total], text[text.rfind(">") + 1 :])
    return None if kind == "text" else []


def _next_digits(text: str, *, whole_numbers: bool) -> list[str]:
    """Return every second digit of a number with the decimal point behind it: each spares the pass that writes the point."""
    number = _OPEN_NUMBER.search(text)
    if number is None or whole_numbers or number[4] or len(number[3]) != 1:
        return []
    return [f"{digit}." for digit in range(10)]


def _opening(text: str, kind: Kind) -> list[str]:
    first = " Counting the" if kind == "count" else ""
    return remainders([f'{first} <point x="', f'{first} <points x1="', NONE], text)


def _after_digits(number: re.Match[str], ending: str, *, whole_numbers: bool) -> list[str]:
    axis, index, whole, dot, decimals = number.groups()
    if not dot:
        return ["."] if len(whole) >= (1 if whole_numbers else 2) else []
    if not decimals:
        return []
    if axis == "x":
        return [f'" y{index}="']
    # In a list, another point is likelier than the end.
    return [f'" x{int(index) + 1}="', ending] if index else [ending]


def _inside_tag(tag: re.Match[str], ending: str) -> list[str]:
    plural, done, started = tag.groups()
    count = _count(done)
    index = str(count) if plural else ""
    if not done:
        likely = [' x1="'] if plural else [' x="', 's x1="']
    elif f" y{index}=" not in done:
        likely = [f' y{index}="']
    else:
        likely = [f' x{count + 1}="', ending] if plural else [ending]
    return remainders(likely, started)


def remainders(wholes: Sequence[str], start: str) -> list[str]:
    """Return the rest of each text that begins with `start`; texts equal to `start` have none."""
    return [whole[len(start) :] for whole in wholes if whole.startswith(start) and whole != start]


def _count(text: str) -> int:
    return len(_NUMBERS.findall(text))


class PromptLookup:
    """Drafts the tokens that followed the latest earlier occurrence of the answer's last tokens, in the prompt or the answer.

    Args:
        max_run: Longest run of tokens that is compared; shorter ones are tried down to two tokens.
        length: Tokens of a draft.
    """

    def __init__(self, prompt: Sequence[int], *, max_run: int = 4, length: int = 6) -> None:
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._max_run = max_run
        self._length = length
        self._prompt = len(prompt)
        self.push(prompt)

    def push(self, tokens: Sequence[int]) -> None:
        """Add tokens, and remember for every run of tokens what followed it."""
        for token in tokens:
            here = len(self._tokens)
            for size in range(2, self._max_run + 1):
                if here >= size:
                    self._after[tuple(self._tokens[here - size : here])] = here
            self._tokens.append(token)

    def propose(self) -> list[int]:
        """Return the tokens that followed the longest run seen before, or []."""
        if len(self._tokens) == self._prompt:
            return []
        for size in range(self._max_run, 1, -1):
            start = self._after.get(tuple(self._tokens[-size:]))
            if start is not None:
                return self._tokens[start : start + self._length]
        return []
