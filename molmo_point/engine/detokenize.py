"""Token ids to text, piece by piece: a piece is returned when its characters are complete, and each token has its span."""

from __future__ import annotations

from collections.abc import Sequence

from molmo_point.preprocess.tokenizer import Tokenizer

UNFINISHED = "\ufffd"
"""What a decoder returns for the first bytes of a character whose other bytes are still missing."""


class Detokenizer:
    """Turns one answer's tokens into text.

    Attributes:
        text: The complete characters so far.
        spans: For each token its characters (start, end) in `text`; empty for tokens without text, and for all but the last
            token of a character made of several tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._anchor = 0
        """Number of tokens whose text is complete; only the last of them is decoded again, as context."""
        self.text = ""
        self.spans: list[tuple[int, int]] = []

    def push(self, tokens: Sequence[int]) -> str:
        """Add tokens; return the text that became complete."""
        before = len(self.text)
        for token in tokens:
            self._push(token)
        return self.text[before:]

    def finish(self) -> str:
        """Return the rest of the text at the end of an answer; a character that is cut shows as U+FFFD."""
        rest = self._incomplete()
        self.text += rest
        self._anchor = len(self._ids)
        return rest

    def _push(self, token: int) -> None:
        self._ids.append(token)
        piece = self._incomplete()
        start = len(self.text)
        if piece and not piece.endswith(UNFINISHED):
            self.text += piece
            self._anchor = len(self._ids)
        self.spans.append((start, len(self.text)))

    def _incomplete(self) -> str:
        """Text of the tokens from the anchor on. One token of context keeps leading blanks."""
        context = self._ids[max(0, self._anchor - 1) : self._anchor]
        known = self._tokenizer.decode(context)
        return self._tokenizer.decode(context + self._ids[self._anchor :])[len(known) :]
