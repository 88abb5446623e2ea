"""Drafts of MolmoPoint's answers: a point takes two passes.

The patch is read together with all patches of its window, so that the pass gives the patch of the window and the location; the
location is read together with the ordinal behind it, so that the next pass gives the next patch, or "no more points" with the
closing, which are drafted, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from molmo_point.engine.draft_width import DraftWidth
from molmo_point.engine.drafting import GrammarDrafter, remainders
from molmo_point.engine.patch_choice import ChoiceIds
from molmo_point.markup.writer import NONE_TEXT
from molmo_point.pointer import Kind
from molmo_point.preprocess.tokenizer import Tokenizer

_OPENING = '<points coords="'
_INSIDE = re.compile(r'<points coords="((?:<POINT_[0-9]+>|[0-9])*)("[^"]*)?$')


class PatchDrafter:
    """Drafts for one answer about an image.

    Args:
        label, prompt: As in `GrammarDrafter`.
        ids: Of the image's choices.
        windows: [P][C] patch numbers, -1 = none.
        width: As in `GrammarDrafter`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        kind: Kind,
        label: str,
        prompt: Sequence[int],
        ids: ChoiceIds,
        windows: Sequence[Sequence[int]],
        width: DraftWidth | None = None,
    ) -> None:
        self._text = GrammarDrafter(tokenizer, kind, label, prompt, patch_continuations, width)
        self._label, self._ids, self._windows = label, ids, windows
        self._points = 0
        self._read = 0

    def propose(self, tokens: Sequence[int]) -> list[list[int]]:
        ids = self._ids
        self._points += sum(ids.location <= token < ids.end for token in tokens[self._read :])
        self._read = len(tokens)
        # Also where its drafts are not used: it follows the text.
        texts = self._text.propose(tokens)
        if not tokens or tokens[-1] < ids.patch or tokens[-1] == ids.no_more:
            return texts
        if ids.is_patch(tokens[-1]):
            window = self._windows[tokens[-1] - ids.patch]
            parts = [[ids.part + part] for part, patch in enumerate(window) if patch >= 0]
            return self._text.paying(parts, tokens)
        if ids.is_part(tokens[-1]):
            return []
        closing = self._text.encode(_closing(self._text.text, self._label, self._points))
        return [[*self._text.encode(str(self._points)), ids.no_more, *closing]]


def patch_continuations(
    text: str, kind: Kind, label: str, *, whole_numbers: bool = False
) -> list[str] | None:
    """Return the words that may follow the answer so far; arguments and result as of `drafting.continuations`."""
    if "<points" not in text:
        if kind == "text" and "<" not in text:
            return None
        counting = "Counting the " if kind == "count" else ""
        return remainders([counting + _OPENING, NONE_TEXT], text)
    inside = _INSIDE.search(text)
    if inside is None:
        return remainders([_OPENING], text[text.rfind("<points") :])
    closing = _closing(text, label, inside[1].count("<POINT_") // 3)
    return remainders([closing], inside[2] or "") or (None if kind == "text" else [])


def _closing(text: str, label: str, count: int) -> str:
    """Return the closing of the tag, and what follows it in a sentence that counts."""
    before = text.partition("<points")[0]
    total = f" shows a total of {count}." if before.startswith("Counting the ") else ""
    return f'">{label}</point>{total or "." * before.startswith("There are ")}'
