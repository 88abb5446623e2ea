"""How MolmoPoint chooses: words by their logits, and within points a patch, a patch of its window, a location (molmo2.md 7).

Ids beyond the vocabulary (V rows of the output head) belong to one image with P image tokens of C patches each: V + p is patch p,
V + P "no more points", then C patches of a window, then 9 locations. In text they are `<POINT_0>`, `<POINT_1>`, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from molmo_point.engine.draft_tree import ROOT, DraftTree
from molmo_point.engine.failures import check_finite
from molmo_point.engine.token_choice import Accepted, Floats, PatchChoice
from molmo_point.model.molmo import Molmo
from molmo_point.model.point_heads import LOCATIONS, PatchKeys

PointDecoding = Literal["as_exported", "as_trained"]
"""The released export and the training code decode differently in three places (molmo2.md 7.4)."""
POINT_DECODINGS = get_args(PointDecoding)

_MASKED = -1e5
"""Score of what the training code masks: where all is masked, its choice is the first."""


@dataclass(frozen=True)
class ChoiceIds:
    """Ids of an image's choices.

    Attributes:
        patch: V, the id of patch 0; no_more, part, location: first ids of the other kinds; end: the first id behind them.
    """

    patch: int
    no_more: int
    part: int
    location: int
    end: int

    @classmethod
    def of(cls, vocabulary: int, patches: int, window: int) -> ChoiceIds:
        """Return the ids for V = `vocabulary`, P = `patches`, C = `window`."""
        no_more = vocabulary + patches
        location = no_more + 1 + window
        return cls(vocabulary, no_more, no_more + 1, location, location + LOCATIONS)

    def is_patch(self, token: int) -> bool:
        """Whether a token is a patch; "no more points" is none."""
        return self.patch <= token < self.no_more

    def is_part(self, token: int) -> bool:
        """Whether a token is a patch of a window."""
        return self.part <= token < self.location


class PatchChooser:
    """The rule of one answer about an image.

    Points come in the order of the image tokens; a point is not repeated; nothing is pointed at after "no more points".

    Args:
        special: Ids of the tokens that stand for a patch, a patch of a window, and a location in the vocabulary.
        keys: Of the image; None = there is none, and nothing can be pointed at.
        decoding: "as_exported": as the code published with the weights. The best patch of all is a candidate beside the words;
            if an earlier point forbids it, a word is written. "as_trained": as the training code. First it is decided that
            there is a point, then the best patch of those allowed is taken.

    Attributes:
        ids: Of the image's choices.
    """

    def __init__(
        self,
        model: Molmo,
        special: tuple[int, int, int],
        keys: PatchKeys | None,
        decoding: PointDecoding,
    ) -> None:
        assert model.points is not None
        self._model, self._heads, self._keys = model, model.points, keys
        self._special = special
        self._trained = decoding == "as_trained"
        patches, window = (keys.count, keys.window_size) if keys else (0, 0)
        self.ids = ChoiceIds.of(model.config.decoder.embedding_size, patches, window)
        self._last: int | None = None
        """Last token of the answer."""
        self._patch: int | None = None
        """Patch of the point that is being written, or was written last."""
        self._part: int | None = None
        self._before: tuple[int, int] | None = None
        """Patch and part of the point before that."""
        self._ended = False

    def inputs(self, tokens: Sequence[int]) -> tuple[list[int], Tensor | None]:
        """See `TokenChoice.inputs`. Drafted parts belong to the patch that was chosen last."""
        ids, (patch, part, location) = self.ids, self._special
        model = self._model
        rows = list(tokens)
        added = torch.zeros(len(tokens), model.config.decoder.d_model, device=model.device)
        for index, token in enumerate(tokens):
            if token < ids.patch:
                continue
            assert self._keys is not None
            if token <= ids.no_more:
                rows[index] = patch
                if token < ids.no_more:
                    added[index] = self._keys.embeddings[token - ids.patch].float()
            elif ids.is_part(token):
                rows[index] = part
                assert self._patch is not None
                embedding = self._heads.embed_subpatch(self._keys, self._patch, token - ids.part)
                # The export replaces the token's row, the training code adds to it.
                table = model.decoder.embedding(torch.tensor(part, device=model.device)).float()
                added[index] = embedding if self._trained else embedding - table
            else:
                rows[index] = location
        return rows, added

    @torch.inference_mode()
    def accept(self, draft: DraftTree, logits: Tensor, hidden: Tensor, stop: int) -> Accepted:
        """See `TokenChoice.accept`. What may follow depends on the tokens before, so that rows are read one after another."""
        tokens: list[int] = []
        path: list[int] = []
        patches: dict[int, PatchChoice] = {}
        node = ROOT
        while True:
            check_finite(logits[1 + node].amax(), hidden.dtype)
            token, choice = self._choose(logits[1 + node], hidden[1 + node])
            if choice is not None:
                patches[len(tokens)] = choice
            tokens.append(token)
            self._advance(token)
            following = None if token == stop else draft.child(node, token)
            if following is None:
                return Accepted(tokens, path, patches)
            path.append(following)
            node = following

    def _choose(self, logits: Tensor, hidden: Tensor) -> tuple[int, PatchChoice | None]:
        """Return the next token behind a row [V], [D]."""
        last, ids = self._last, self.ids
        if last is not None and ids.is_patch(last):
            return self._choose_part(hidden)
        if last is not None and ids.is_part(last):
            scores = self._heads.location_scores(hidden)
            return ids.location + int(scores.argmax()), PatchChoice(_softmax(scores))
        words = logits.clone()
        words[list(self._special)] = -torch.inf
        word = int(words.argmax())
        pointed = logits[self._special[0]]
        # Behind the prompt neither code points: an answer begins with a word.
        if self._keys is None or last is None or self._ended or pointed <= words[word]:
            return word, None
        scores = self._heads.patch_scores(hidden, self._keys, self._patch)
        allowed = scores.masked_fill(~self._allowed(), -torch.inf)
        best = int((allowed if self._trained else scores).argmax())
        if allowed[best] == -torch.inf:
            return word, None
        words[self._special[0]] = pointed
        share = float(words.softmax(-1)[self._special[0]])
        follows = scores.clone()
        follows[: self._patch or 0] = -torch.inf
        return ids.patch + best, PatchChoice(_softmax(follows), share)

    def _choose_part(self, hidden: Tensor) -> tuple[int, PatchChoice]:
        assert self._keys is not None
        assert self._patch is not None
        scores = self._heads.subpatch_scores(hidden, self._keys, self._patch)
        choice = PatchChoice(_softmax(scores))
        if self._before is not None and self._before[0] == self._patch:
            scores[: self._before[1] + 1] = -torch.inf
        best = int(scores.clamp_min(_MASKED).argmax())
        return self.ids.part + best, choice

    def _allowed(self) -> Tensor:
        """Return the patches that may follow [P + 1] bool."""
        assert self._keys is not None
        allowed = torch.ones_like(self._keys.usable)
        if self._patch is None:
            # The training format has at least one point between the quotes.
            allowed[-1] = not self._trained
            return allowed
        allowed[: self._patch] = False
        assert self._part is not None
        allowed[self._patch] &= self._may_repeat(self._keys.windows[self._patch], self._part)
        return allowed

    def _may_repeat(self, window: Tensor, part: int) -> bool:
        """Whether the last patch may be chosen once more, for a later patch of its window [C]."""
        last = len(window) - 1
        if self._trained:
            # Where the later ones do not exist, the training code repeats a point.
            return part != last
        # The export looks at the point before where no word stands between two points. Where no later patch exists, it stops with
        # an assertion or takes one that does not exist: neither is done here.
        directly = self._last is not None and self._last >= self.ids.location
        forbidden = directly and self._before is not None and self._before[1] == last
        return bool((window[part + 1 :] >= 0).any()) and not forbidden

    def _advance(self, token: int) -> None:
        ids = self.ids
        self._last = token
        if ids.is_patch(token):
            if self._patch is not None and self._part is not None:
                self._before = self._patch, self._part
            self._patch = token - ids.patch
        elif token == ids.no_more and self._keys is not None:
            self._ended = True
        elif ids.is_part(token):
            self._part = token - ids.part


def _softmax(scores: Tensor) -> Floats:
    values: Floats = scores.double().softmax(-1).cpu().numpy()
    return values
