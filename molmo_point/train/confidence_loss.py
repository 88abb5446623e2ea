"""The network learns to know which of its points are right: before it writes them, and behind them.

What it is about to write is known where a point begins: its likeliest x, and its likeliest y behind the right x. Whether that
will be right is an answer of its own, read off the decoder's output there and at the question's end (Kadavath et al., "Language
Models (Mostly) Know What They Know", arXiv 2207.05221: P(IK)). Behind a point it is read off whether what stands there is right:
right answers and negatives differ in nothing else (P(True) there, but without a question of its own). None of it costs a token.

The heads are for training only. What they make the decoder say is read again by the probes of a calibration, which are fitted to
pictures that nothing was trained on.

Letters: K points, of right answers and of negatives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from molmo_point.model.molmo import Molmo
from molmo_point.train.auxiliary_losses import AuxiliaryHeads
from molmo_point.train.batches import Batch
from molmo_point.train.vocabulary import NUMBERS


def confidence_loss(
    model: Molmo,
    heads: AuxiliaryHeads,
    hidden: Tensor,
    batch: Batch,
    first_number: int,
    none: int,
) -> tuple[Tensor, dict[str, float]]:
    """Compare what the network knows about points with what is right.

    Args:
        hidden: [B, T, D], the decoder's output.
        first_number, none: See `answer_losses`.
    """
    if not len(batch.spots):
        return hidden.sum() * 0, {}
    flat = hidden.reshape(-1, hidden.shape[-1])
    ends, x_rows, y_rows, behind = batch.spots.unbind(1)
    asked, begun, written = (
        heads.sure(flat[rows]).float()[:, column]
        for column, rows in enumerate((ends, x_rows, behind))
    )
    with torch.no_grad():
        numbers = slice(first_number, first_number + NUMBERS)
        x, y = (
            model.decoder.logits(flat[rows])[:, numbers].argmax(-1) for rows in (x_rows, y_rows)
        )
        hit, clear = _judged(batch, x, y)
        # Points count as much as the network would come to write them, instead of saying that there are none.
        pointing = 1 - model.decoder.logits(flat[ends]).float().softmax(-1)[:, none]
        weights = pointing * (clear & batch.foreseen)
        right = ~batch.negatives
    judged = clear & batch.foreseen & (pointing > 0.5)
    counts = {
        "judged": float(judged.sum()),
        "judged_right": float((judged & ((begun > 0) == hit)).sum()),
        "written": float(len(written)),
        "written_right": float(((written > 0) == right).sum()),
    }
    before = _agreement(asked, hit, weights) + _agreement(begun, hit, weights)
    # Foils are fewer than right points, and weigh as much.
    after = sum(_agreement(written[part], right[part], pointing[part]) for part in (right, ~right))
    return (before + after) / 4, counts


def _agreement(odds: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    loss = F.binary_cross_entropy_with_logits(odds, truth.float(), reduction="none")
    return (loss * weights).sum() / weights.sum().clamp_min(1e-6)


def _judged(batch: Batch, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether each point [K] would be right, and whether that can be told.

    It cannot where x is on another thing that was asked for: y is then another one's, too.

    Args:
        x, y: [K] int64, the whole percents that the network would write.
    """
    corners = batch.boxes.view(-1, 2, 2)
    reach = (corners[:, 1] - corners[:, 0]) / 2
    # A number k stands for [k, k + 1). Comparisons with NaN, the box of a negative, are false.
    off = torch.stack([x, y], dim=1) + 0.5 - corners.mean(1)
    on_x, on_y = (off.abs() <= reach.clamp_min(0.5)).unbind(1)
    elsewhere = batch.elsewhere.gather(1, x[:, None])[:, 0]
    return on_x & on_y, on_x | ~elsewhere
