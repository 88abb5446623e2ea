"""Guessing how an answer goes on, so that one pass of the decoder settles several tokens. Never changes an answer.

In `<point x="63.5" y="44.5" alt="red mug">red mug</point>` only the digits are news: the grammar forces most of the rest, and
the query foretells the label. What is guessed is fed behind the last settled token and counts only as far as the model itself
would have written it (speculative decoding, arXiv 2211.17192, with the grammar as the draft model). Where the grammar leaves a
choice (one point, several or none; another point or the end) its ways are drafted side by side, as a tree. Free text
falls back on the longest run of tokens seen before (prompt lookup).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Literal

from molmo_point.engine.detokenize import Detokenizer
from molmo_point.preprocess.tokenizer import Tokenizer

Kind = Literal["point", "count", "text"]

NONE = " There are none."
_OPEN_TAG = re.compile(r"<point(s?)((?: [a-z]+\d*=\"[^\"]*\")*)( ?[a-z]*\d*=?\"?[^\">]*)$")
_OPEN_NUMBER = re.compile(r" ([xy])(\d*)=\"(\d*)(\.?)(\d*)$")
_ALT = re.compile(r"<point(s?)(?: [xy]\d*=\"[\d. ]+\")+ alt=\"([^\"]*)\">([^<]*)$")
_NUMBERS = re.compile(r" x\d*=\"")


class GrammarDrafter:
    """Drafts for one answer.

    Args:
        kind: What was asked: "point", "count" or "text".
        label: What the model will probably call the things it points at.
        prompt: Token ids of the prompt, which free text often repeats.
    """

    def __init__(
        self, tokenizer: Tokenizer, kind: Kind, label: str, prompt: Sequence[int]
    ) -> None:
        self._kind = kind
        self._label = label
        self._encode = functools.lru_cache(maxsize=256)(tokenizer.encode)
        self._whole_numbers = len(tokenizer.encode("63")) == 1
        self._stream = Detokenizer(tokenizer)
        self._lookup = PromptLookup(prompt)
        self._read = 0

    def propose(self, tokens: Sequence[int]) -> list[list[int]]:
        fresh = tokens[self._read :]
        self._stream.push(fresh)
        self._lookup.push(fresh)
        self._read = len(tokens)
        ways = continuations(
            self._stream.text, self._kind, self._label, whole_numbers=self._whole_numbers
        )
        if ways is None:
            lookup = self._lookup.propose()
            return [lookup] if lookup else []
        return [list(self._encode(way)) for way in ways]


def continuations(
    text: str, kind: Kind, label: str, *, whole_numbers: bool = False
) -> list[str] | None:
    """Guess what follows an answer's text.

    Args:
        text: The answer so far.
        whole_numbers: The tokenizer writes "63" as one token: a point follows each number, not only one of two digits.

    Returns:
        What the grammar allows, the likeliest first; [] where nothing can be known (digits); None where the text follows no
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
        return _rest([f"{alt}</point{plural}>{total}"], inline)
    tag = _OPEN_TAG.search(text)
    if tag is not None:
        return _inside_tag(tag, f' alt="{label}">{label}</point{tag.group(1)}>{total}')
    if total:
        return _rest([total], text[text.rfind(">") + 1 :])
    return None if kind == "text" else []


def _opening(text: str, kind: Kind) -> list[str]:
    first = " Counting the" if kind == "count" else ""
    return _rest([f'{first} <point x="', f'{first} <points x1="', NONE], text)


def _after_digits(number: re.Match[str], ending: str, *, whole_numbers: bool) -> list[str]:
    axis, index, whole, dot, decimals = number.groups()
    if not dot:
        return ["."] if len(whole) >= (1 if whole_numbers else 2) else []
    if not decimals:
        return []
    if axis == "x":
        return [f'" y{index}="']
    # Of several points another one is the likelier.
    return [f'" x{int(index) + 1}="', ending] if index else [ending]


def _inside_tag(tag: re.Match[str], ending: str) -> list[str]:
    plural, done, begun = tag.groups()
    count = _count(done)
    index = str(count) if plural else ""
    if not done:
        likely = [' x1="'] if plural else [' x="', 's x1="']
    elif f" y{index}=" not in done:
        likely = [f' y{index}="']
    else:
        likely = [f' x{count + 1}="', ending] if plural else [ending]
    return _rest(likely, begun)


def _rest(wholes: Sequence[str], begun: str) -> list[str]:
    """Return what is left of those that begin like that, if anything."""
    return [whole[len(begun) :] for whole in wholes if whole.startswith(begun) and whole != begun]


def _count(text: str) -> int:
    return len(_NUMBERS.findall(text))


class PromptLookup:
    """Drafts the tokens that followed the last time the answer's last tokens were seen, in the prompt or the answer.

    Args:
        longest: Longest run that is compared; shorter ones are tried down to two tokens.
        length: Tokens of a draft.
    """

    def __init__(self, prompt: Sequence[int], *, longest: int = 4, length: int = 6) -> None:
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._longest = longest
        self._length = length
        self._prompt = len(prompt)
        self.push(prompt)

    def push(self, tokens: Sequence[int]) -> None:
        """Take more tokens; every run that ends before one of them leads to it."""
        for token in tokens:
            here = len(self._tokens)
            for size in range(2, self._longest + 1):
                if here >= size:
                    self._after[tuple(self._tokens[here - size : here])] = here
            self._tokens.append(token)

    def propose(self) -> list[int]:
        """Return the tokens after the longest run seen before, or []."""
        if len(self._tokens) == self._prompt:
            return []
        for size in range(self._longest, 1, -1):
            start = self._after.get(tuple(self._tokens[-size:]))
            if start is not None:
                return self._tokens[start : start + self._length]
        return []
