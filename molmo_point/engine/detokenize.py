"""Token ids to text while they come: a piece leaves when its characters are whole, and each token knows its characters."""

from __future__ import annotations

from collections.abc import Sequence

from molmo_point.preprocess.tokenizer import Tokenizer

UNFINISHED = "\ufffd"
"""What a decoder shows for the first bytes of a character whose others have not come yet."""


class Detokenizer:
    """Turns one answer's tokens into text.

    Attributes:
        text: Everything that is certain so far.
        spans: For each token the characters it stands for in `text`, (start, end); empty for tokens without text, and for
            all but the last token of a character made of several.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._anchor = 0
        """Tokens before this are settled; they are decoded again only as context for what follows."""
        self.text = ""
        self.spans: list[tuple[int, int]] = []

    def push(self, tokens: Sequence[int]) -> str:
        """Take tokens one by one; return the text that became certain."""
        before = len(self.text)
        for token in tokens:
            self._push(token)
        return self.text[before:]

    def finish(self) -> str:
        """Return what is left when no more tokens come: a character cut in the middle shows as U+FFFD."""
        left = self._fresh()
        self.text += left
        self._anchor = len(self._ids)
        return left

    def _push(self, token: int) -> None:
        self._ids.append(token)
        fresh = self._fresh()
        start = len(self.text)
        if fresh and not fresh.endswith(UNFINISHED):
            self.text += fresh
            self._anchor = len(self._ids)
        self.spans.append((start, len(self.text)))

    def _fresh(self) -> str:
        """Text of the tokens from the anchor on; one settled token in front keeps leading blanks as they are."""
        context = self._ids[max(0, self._anchor - 1) : self._anchor]
        known = self._tokenizer.decode(context)
        return self._tokenizer.decode(context + self._ids[self._anchor :])[len(known) :]
