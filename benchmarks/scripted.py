"""Scripted answers: a network with random weights computes each pass, and a script replaces the chosen tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molmo_point.engine.draft_tree import ROOT
from molmo_point.engine.generate import DecodeState, Drafter, Limits, Step


class ScriptedDecodeState(DecodeState):
    """`DecodeState` that takes every choice from a script, so that drafts hit as they do on a trained model."""

    def __init__(self, prompt: Sequence[int], script: Sequence[int], drafter: Drafter) -> None:
        super().__init__(prompt, stop=script[-1], limits=Limits(len(script) + 64), drafter=drafter)
        self._script = list(script)

    def accept(self, logits: Tensor, hidden: Tensor) -> tuple[Step, list[int]]:
        """Accept tokens of a pass; the script replaces the network's choice."""
        said, draft = len(self._answer), self._input.draft
        rows = [self._script[said]]
        paths: list[list[int]] = []
        for token, parent in zip(draft.tokens, draft.parents, strict=True):
            paths.append([*(paths[parent] if parent != ROOT else []), token])
            end = said + len(paths[-1])
            right = paths[-1] == self._script[said:end] and end < len(self._script)
            rows.append(self._script[end] if right else self._script[-1])
        scripted = torch.zeros_like(logits)
        scripted[range(len(rows)), rows] = 1.0
        return super().accept(scripted, hidden)
