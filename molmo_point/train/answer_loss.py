"""What is learned: answers, and, in training only, what every image token shows and where two early attention heads look.

The extra heads and losses never reach the checkpoint: the trained network answers by plain decoding. Without them a network of
this size learns the format of the answers and nothing else. Letters: B pictures, T tokens, D model width, H taught heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from molmo_point.model.decoder import DecoderBlock
from molmo_point.model.layers import rotary_table
from molmo_point.model.molmo import Molmo
from molmo_point.train.auxiliary_losses import AuxiliaryHeads, Losses, soft_numbers, spell_loss
from molmo_point.train.batches import Batch
from molmo_point.train.confidence_loss import confidence_loss
from molmo_point.train.math_attention import fastest_attention
from molmo_point.train.vocabulary import NUMBERS


@dataclass(frozen=True)
class SupervisedHeads:
    """Which attention heads are taught where to look: heads 0 .. heads-1 of block `layer`.

    As many of the block before are taught to read what is asked for, so that the lookers know it.
    """

    layer: int = 2
    heads: int = 2


def answer_losses(
    model: Molmo,
    heads: AuxiliaryHeads,
    features: Tensor,
    batch: Batch,
    taught: SupervisedHeads,
    softness: float,
    first_number: int,
    none: int,
    sure: bool,
) -> Losses:
    """Decode the packed questions, and compare answers, places and looks.

    Args:
        first_number: Id of the token "0"; those of "1" ... "100" follow.
        none: Id of the token that "There are none." begins with.
        sure: Whether it is learned which points are right, see `confidence_loss`.
    """
    flat = batch.ids.reshape(-1)
    x = model.decoder.embedding(flat)
    at = batch.slots.reshape(-1)
    used = at >= 0
    x = x.index_add(0, at[used], features.reshape(-1, features.shape[-1])[used].to(x.dtype))
    x = x.view(*batch.ids.shape, -1)
    mask = batch.attention_mask()
    below: list[Tensor] = []
    looker = _block(model, taught.layer)
    reader = _block(model, max(0, taught.layer - 1))
    hooks = [
        block.register_forward_pre_hook(lambda _module, inputs: below.append(inputs[0]))
        for block in (reader, looker)
    ]
    try:
        with fastest_attention(x.device, mask, batch.rows()):
            hidden = model.decoder(x, batch.positions, mask=mask)
    finally:
        for hook in hooks:
            hook.remove()
    answer, counts = _answer_loss(model, hidden, batch, softness, first_number)
    attention = _Attention(model, batch, mask, taught.heads)
    flat_below = below[-1].reshape(-1, below[-1].shape[-1])
    name, name_counts = spell_loss(
        heads, heads.name_norm(flat_below[batch.name_rows]), batch.names
    )
    parts = {
        "answer": answer,
        "name": name,
        "place": _place_loss(heads, below[-1], batch, softness),
        "look": attention.loss(looker, below[-1], batch.look_rows, batch.look_at),
        "read": attention.loss(reader, below[0], batch.read_rows, batch.read_at),
    }
    counts |= {f"asked_{key}": value for key, value in name_counts.items()}
    if sure:
        parts["sure"], sure_counts = confidence_loss(
            model, heads, hidden, batch, first_number, none
        )
        counts |= sure_counts
    return Losses(parts, counts)


def _block(model: Molmo, index: int) -> DecoderBlock:
    block = model.decoder.blocks[index]
    assert isinstance(block, DecoderBlock)
    return block


def _answer_loss(
    model: Molmo, hidden: Tensor, batch: Batch, softness: float, first_number: int
) -> tuple[Tensor, dict[str, float]]:
    targets = batch.targets.view(-1)
    rows = torch.nonzero(targets >= 0)[:, 0]
    logits = model.decoder.logits(hidden.reshape(-1, hidden.shape[-1])[rows]).float()
    targets, values = targets[rows], batch.values.view(-1)[rows]
    weights = batch.weights.view(-1)[rows]
    logs = logits.log_softmax(-1)
    loss = -logs.gather(1, targets[:, None])[:, 0]
    number = ~values.isnan()
    numbers = logs[number][:, first_number : first_number + NUMBERS]
    soft = -(soft_numbers(values[number], softness) * numbers).sum(-1)
    loss = loss.masked_scatter(number, soft)
    near = (numbers.argmax(-1) - values[number].floor()).abs() <= 2
    guess = torch.full_like(batch.targets.view(-1), -1)
    guess[rows] = logits.argmax(-1)
    decided = guess[batch.decisions] == batch.targets.view(-1)[batch.decisions]
    counts = {
        "numbers": float(number.sum()),
        "numbers_near": float(near.sum()),
        "absent": float(batch.absent.sum()),
        "absent_right": float((decided & batch.absent).sum()),
        "present": float((~batch.absent).sum()),
        "present_right": float((decided & ~batch.absent).sum()),
    }
    return (loss * weights).sum() / weights.sum(), counts


def _place_loss(heads: AuxiliaryHeads, below: Tensor, batch: Batch, softness: float) -> Tensor:
    """Image tokens that show a thing know where its centre is, in percent: so the taught heads have something to copy."""
    places = batch.places.view(-1, 2)
    rows = torch.nonzero(~places[:, 0].isnan())[:, 0]
    if not len(rows):
        return below.sum() * 0
    x = heads.place_norm(below.reshape(-1, below.shape[-1])[rows])
    logs = heads.place(x).float().unflatten(-1, (2, NUMBERS)).log_softmax(-1)
    soft = soft_numbers(places[rows].reshape(-1), softness).view(-1, 2, NUMBERS)
    return -(soft * logs).sum(-1).mean()


@dataclass(frozen=True)
class _Attention:
    """What the attention of taught heads is measured with."""

    model: Molmo
    batch: Batch
    mask: Tensor
    heads: int

    def loss(self, block: DecoderBlock, below: Tensor, rows: Tensor, wanted: Tensor) -> Tensor:
        """Return minus the logarithm of the attention that the first heads of a block give to what is wanted.

        Args:
            below: [B, T, D], the block's input.
            rows: [Q] int64, index into [B * T]: whose attention.
            wanted: [Q, T] bool, for each of them.
        """
        config = self.model.decoder.config
        loss = below.sum() * 0
        if not len(rows):
            return loss
        rotary = rotary_table(self.batch.positions, config.head_dim, config.rope_theta)
        x = below if block.norm_after else block.attention_norm(below)
        q, k, _ = block.attention.project(x, rotary)
        k = k.repeat_interleave(config.heads // config.kv_heads, 1)
        q, k = q[:, : self.heads], k[:, : self.heads]
        length = self.batch.ids.shape[1]
        picture, position = rows // length, rows % length
        # Image by image, so that no key is copied for every row.
        for index in sorted(set(picture.tolist())):
            mine = torch.nonzero(picture == index)[:, 0]
            scores = torch.einsum("hqd,hkd->hqk", q[index][:, position[mine]], k[index]).float()
            allowed = self.mask[index, 0][position[mine]]
            scores = (scores * config.head_dim**-0.5).masked_fill(~allowed, float("-inf"))
            logs = scores.log_softmax(-1).masked_fill(~wanted[mine], float("-inf"))
            loss = loss - logs.logsumexp(-1).sum()
        return loss / (len(rows) * self.heads)
