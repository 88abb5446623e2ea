"""The loss of fine-tuning: cross entropy of the answers' tokens, and nothing else but the z-loss.

Letters: B rows, T tokens, M crops, N learned tokens, D model width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from molmo_point.model.molmo import Molmo
from molmo_point.train.auxiliary_losses import embed_inputs, encode_images
from molmo_point.train.data_loader import TrainingStopped
from molmo_point.train.math_attention import fastest_attention
from molmo_point.train.packed_batches import LabelledBatches, PackedBatch
from molmo_point.train.target_sequence import NO_TARGET

MakeContext = Callable[[], AbstractContextManager[object]]


class AnswerLoss(nn.Module):
    """The network with its loss: a module of its own, so that a sharded network's parameters are gathered in its forward pass.

    Args:
        checkpointing: Compute the blocks' activations again in the backward pass instead of keeping them.
    """

    def __init__(self, model: Molmo, *, checkpointing: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self._attention: MakeContext = lambda: fastest_attention(model.device)
        if dropout:
            for block in model.decoder.blocks:
                for branch in (block.attention, block.ffn):
                    branch.register_forward_hook(_Dropout(dropout))  # type: ignore[union-attr]
        if checkpointing:
            for block in (*model.vision.blocks, *model.decoder.blocks):
                block.forward = _Checkpointed(block.forward, lambda: self._attention)  # type: ignore[method-assign]

    def forward(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Return the weighted sums of the cross entropy and of the squared log normalizer, both over all learned tokens."""
        inputs, model = batch.inputs, self.model
        device = inputs.ids.device
        self._attention = lambda: fastest_attention(device)
        with self._attention():
            features = encode_images(model, inputs).features
        x = embed_inputs(model, features, inputs)
        mask, rows = inputs.attention_mask(), inputs.row_lengths()
        self._attention = lambda: fastest_attention(device, mask, rows)
        with self._attention():
            hidden = model.decoder(x, inputs.positions, mask=mask)
        return self._losses(hidden, batch)

    def _losses(self, hidden: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        targets, weights = batch.targets.view(-1), batch.weights.view(-1)
        learned = torch.nonzero(targets != NO_TARGET)[:, 0]
        logits = self.model.decoder.logits(hidden.reshape(-1, hidden.shape[-1])[learned]).float()
        normalizer = logits.logsumexp(-1)
        right = logits.gather(1, targets[learned, None])[:, 0]
        weight = weights[learned]
        return ((normalizer - right) * weight).sum(), (normalizer.square() * weight).sum()


@torch.no_grad()
def mean_loss(network: AnswerLoss, batches: LabelledBatches, device: torch.device) -> float:
    """Return the mean cross entropy of the answers' tokens over all images of a set.

    Raises:
        TrainingStopped: It is not finite, or no image can be read.
    """
    loss = weight = 0.0
    for step in batches.all_batches():
        weight += step.weight
        for part in step.parts:
            loss += float(network(part.to(device))[0])
    if not weight:
        raise TrainingStopped("no held-out image can be read")
    if not math.isfinite(loss):
        raise TrainingStopped(
            f"the loss on held-out images is {loss}: lower the rates; the state saved before is whole"
        )
    return loss / weight


class _Checkpointed:
    """A block's forward pass without its activations.

    Args:
        attention: Returns what makes the context of the attention at the time of a pass; the second pass needs it, too.
    """

    def __init__(
        self, forward: Callable[..., Tensor], attention: Callable[[], MakeContext]
    ) -> None:
        self._forward = forward
        self._attention = attention

    def __call__(self, *args: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._forward(*args)
        context = self._attention()

        def run(*inner: Any) -> Tensor:
            with context():
                return self._forward(*inner)

        return checkpoint(run, *args, use_reentrant=False)


class _Dropout:
    """Residual dropout: applied to what a branch adds to the residual stream, while gradients are computed."""

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def __call__(self, _module: nn.Module, _args: Any, out: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return out
        return nn.functional.dropout(out, self._probability)
