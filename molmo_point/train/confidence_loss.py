"""The network learns whether its points are right, before it writes them and after.

Before: where a point begins, its most likely x is known, and its most likely y given the right x. Whether that point would be
right is read from the decoder's output there and at the end of the question: P(IK) of Kadavath et al., "Language Models
(Mostly) Know What They Know", arXiv 2207.05221. After: at the last token of a point it is read whether the point is right;
answers and hard negatives differ in nothing else (P(True) there, but without a question of its own). Neither costs a token.

The heads exist during training only. Score calibration reads the same decoder states with probes that are fitted on held-out
images.

Letters in shapes: K points, of answers and of hard negatives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from molmo_point.train.batches import PointTargets
from molmo_point.train.init_network import Network


def confidence_loss(
    network: Network, hidden: Tensor, points: PointTargets
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss, and counts for the log.

    Args:
        hidden: [B, T, D], the decoder's output.
    """
    if not len(points.rows):
        return hidden.sum() * 0, {}
    flat = hidden.reshape(-1, hidden.shape[-1])
    ends, x_rows, y_rows, last = points.rows.unbind(1)
    asked, begun, written = (
        network.heads.sure(flat[rows]).float()[:, column]
        for column, rows in enumerate((ends, x_rows, last))
    )
    with torch.no_grad():
        logits, tokens = network.model.decoder.logits, network.tokens
        x, y = (logits(flat[rows])[:, tokens.numbers].argmax(-1) for rows in (x_rows, y_rows))
        hit, clear = _judge(points, x, y)
        # A point counts as much as the network is likely to write it instead of "none".
        pointing = 1 - logits(flat[ends]).float().softmax(-1)[:, tokens.none]
        judged = clear & points.judgeable
        right = ~points.negative
    counted = judged & (pointing > 0.5)
    counts = {
        "judged": float(counted.sum()),
        "judged_right": float((counted & ((begun > 0) == hit)).sum()),
        "written": float(len(written)),
        "written_right": float(((written > 0) == right).sum()),
    }
    weights = pointing * judged
    before = _cross_entropy(asked, hit, weights) + _cross_entropy(begun, hit, weights)
    # Negatives are fewer than answers, and weigh as much.
    after = sum(
        _cross_entropy(written[part], right[part], pointing[part]) for part in (right, ~right)
    )
    return (before + after) / 4, counts


def _cross_entropy(log_odds: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    loss = F.binary_cross_entropy_with_logits(log_odds, truth.float(), reduction="none")
    return (loss * weights).sum() / weights.sum().clamp_min(1e-6)


def _judge(points: PointTargets, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether each point [K] at whole percents x, y [K] would be right, and whether the box can tell.

    It cannot where x lies on another thing that was asked for: y is then that thing's, too.
    """
    corners = points.boxes.view(-1, 2, 2)
    half_size = (corners[:, 1] - corners[:, 0]) / 2
    # A number k stands for [k, k + 1). Comparisons with NaN, the box of a negative, are false.
    offset = torch.stack([x, y], dim=1) + 0.5 - corners.mean(1)
    on_x, on_y = (offset.abs() <= half_size.clamp_min(0.5)).unbind(1)
    on_other = points.other_columns.gather(1, x[:, None])[:, 0]
    return on_x & on_y, on_x | ~on_other
