"""The network learns to know, at the moment it begins to write a point, whether that point will be right.

What it is about to write is known there: its likeliest x, and its likeliest y behind the right x. Whether that is right is an
answer of its own, read off the decoder's output, as with a question about the question (Kadavath et al., "Language Models
(Mostly) Know What They Know", arXiv 2207.05221: P(IK)); but it costs no token. The head is for training only; what it makes
the decoder say is read again by the probes of a calibration, which are fitted to pictures that nothing was trained on.

Letters: K points, of right answers and of foils.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from molmo_point.model.molmo import Molmo
from molmo_point.train.batches import Batch
from molmo_point.train.teaching import TeachingHeads
from molmo_point.train.vocabulary import NUMBERS


def sure_loss(
    model: Molmo,
    heads: TeachingHeads,
    hidden: Tensor,
    batch: Batch,
    first_number: int,
    none: int,
) -> tuple[Tensor, dict[str, float]]:
    """Compare what the network knows about its next point with whether that one is right.

    Args:
        hidden: [B, T, D], the decoder's output.
        first_number, none: See `answer_losses`.
    """
    if not len(batch.openings):
        return hidden.sum() * 0, {}
    flat = hidden.reshape(-1, hidden.shape[-1])
    ends, x_rows, y_rows = batch.openings.unbind(1)
    odds = heads.sure(flat[x_rows]).float()[:, 0]
    with torch.no_grad():
        numbers = slice(first_number, first_number + NUMBERS)
        x = model.decoder.logits(flat[x_rows])[:, numbers].argmax(-1)
        y = model.decoder.logits(flat[y_rows.clamp_min(0)])[:, numbers].argmax(-1)
        hit, clear = _judged(batch, x, y)
        # Points count as much as the network would come to write them, instead of saying that there are none.
        pointing = 1 - model.decoder.logits(flat[ends]).float().softmax(-1)[:, none]
        weights = pointing * clear
    loss = F.binary_cross_entropy_with_logits(odds, hit.float(), reduction="none")
    judged = clear & (pointing > 0.5)
    counts = {
        "judged": float(judged.sum()),
        "judged_right": float((judged & ((odds > 0) == hit)).sum()),
    }
    return (loss * weights).sum() / weights.sum().clamp_min(1e-6), counts


def _judged(batch: Batch, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether each point [K] would be right, and whether that can be told.

    It cannot where x is on another thing that was asked for: y is then another one's, too.

    Args:
        x, y: [K] int64, the whole percents that the network would write.
    """
    corners = batch.boxes.view(-1, 2, 2)
    reach = (corners[:, 1] - corners[:, 0]) / 2
    # A number k stands for [k, k + 1). Comparisons with NaN, the box of a foil, are false.
    off = torch.stack([x, y], dim=1) + 0.5 - corners.mean(1)
    on_x, on_y = (off.abs() <= reach.clamp_min(0.5)).unbind(1)
    elsewhere = batch.elsewhere.gather(1, x[:, None])[:, 0]
    return on_x & on_y, on_x | ~elsewhere
