"""Losses of the decoder: the answer's tokens, and in training only, attention supervision and auxiliary read-outs.

The trained network answers by plain decoding. Without the auxiliary losses a network of nano's size learns the format of the
answers and nothing else. Letters in shapes: B images, T tokens, D model width, H supervised heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from molmo_point.checkpoints.config import DecoderConfig
from molmo_point.model.decoder import DecoderBlock
from molmo_point.model.layers import rotary_table
from molmo_point.train.auxiliary_losses import embed_inputs, spell_loss
from molmo_point.train.batches import AnswerTargets, Batch, ImageTargets, ModelInputs
from molmo_point.train.confidence_loss import confidence_loss
from molmo_point.train.init_network import Network
from molmo_point.train.losses import Losses, LossWeights, soft_numbers
from molmo_point.train.math_attention import fastest_attention
from molmo_point.train.vocabulary import NUMBERS


@dataclass(frozen=True)
class SupervisedHeads:
    """Attention heads 0 .. heads-1 of block `layer` learn to look at what is asked for, those of the block before to read the
    query."""

    layer: int = 2
    heads: int = 2


@dataclass(frozen=True)
class AnswerLosses:
    """The losses of the decoder on packed questions.

    Attributes:
        weights: Softness of number labels; the confidence loss is computed where its weight is above 0.
    """

    network: Network
    supervised: SupervisedHeads
    weights: LossWeights

    def __call__(self, features: Tensor, batch: Batch) -> Losses:
        """Decode and return all losses. features: [M, K, D] image embeddings."""
        inputs = batch.inputs
        mask = inputs.attention_mask()
        hidden, reader_input, looker_input = self._decode(features, inputs, mask)
        answer, counts = self._answer_loss(hidden, batch.answers)
        config = self.network.model.decoder.config
        attention = _Attention(config, inputs, mask, self.supervised.heads)
        targets = batch.attention
        label, label_counts = self._label_loss(looker_input, batch.answers)
        parts = {
            "answer": answer,
            "name": label,
            "place": self._place_loss(looker_input, batch.image),
            "look": attention.of(self._looker, looker_input).loss(
                targets.look_rows, targets.look_at
            ),
            "read": attention.of(self._reader, reader_input).loss(
                targets.read_rows, targets.read_at
            ),
        }
        counts |= label_counts
        if self.weights.sure > 0:
            parts["sure"], confidence_counts = confidence_loss(self.network, hidden, batch.points)
            counts |= confidence_counts
        return Losses(parts, counts)

    @property
    def _looker(self) -> DecoderBlock:
        return self._block(self.supervised.layer)

    @property
    def _reader(self) -> DecoderBlock:
        return self._block(max(0, self.supervised.layer - 1))

    def _block(self, index: int) -> DecoderBlock:
        block = self.network.model.decoder.blocks[index]
        assert isinstance(block, DecoderBlock)
        return block

    def _decode(self, features: Tensor, inputs: ModelInputs, mask: Tensor) -> list[Tensor]:
        """Return the decoder's output and the inputs of the reading and of the looking block, each [B, T, D]."""
        decoder = self.network.model.decoder
        x = embed_inputs(self.network.model, features, inputs)
        block_inputs: list[Tensor] = []
        hooks = [
            block.register_forward_pre_hook(lambda _module, args: block_inputs.append(args[0]))
            for block in (self._reader, self._looker)
        ]
        try:
            with fastest_attention(x.device, mask, inputs.row_lengths()):
                hidden = decoder(x, inputs.positions, mask=mask)
        finally:
            for hook in hooks:
                hook.remove()
        return [hidden, block_inputs[0], block_inputs[-1]]

    def _answer_loss(
        self, hidden: Tensor, answers: AnswerTargets
    ) -> tuple[Tensor, dict[str, float]]:
        """Cross entropy of the answer's tokens, with soft labels for whole numbers."""
        all_targets = answers.targets.view(-1)
        rows = torch.nonzero(all_targets >= 0)[:, 0]
        flat = hidden.reshape(-1, hidden.shape[-1])[rows]
        logits = self.network.model.decoder.logits(flat).float()
        targets, weights = all_targets[rows], answers.weights.view(-1)[rows]
        coordinates = answers.coordinates.view(-1)[rows]
        logs = logits.log_softmax(-1)
        loss = -logs.gather(1, targets[:, None])[:, 0]
        number = ~coordinates.isnan()
        numbers = logs[number][:, self.network.tokens.numbers]
        soft = soft_numbers(coordinates[number], self.weights.softness)
        loss = loss.masked_scatter(number, -(soft * numbers).sum(-1))
        near = (numbers.argmax(-1) - coordinates[number].floor()).abs() <= 2
        guess = torch.full_like(all_targets, -1)
        guess[rows] = logits.argmax(-1)
        right = guess[answers.decision_rows] == all_targets[answers.decision_rows]
        counts = {
            "numbers": float(number.sum()),
            "numbers_near": float(near.sum()),
            "absent": float(answers.absent.sum()),
            "absent_right": float((right & answers.absent).sum()),
            "present": float((~answers.absent).sum()),
            "present_right": float((right & ~answers.absent).sum()),
        }
        return (loss * weights).sum() / weights.sum(), counts

    def _label_loss(self, x: Tensor, answers: AnswerTargets) -> tuple[Tensor, dict[str, float]]:
        """First letters of the label that is asked for, read from the looking block's input x [B, T, D]."""
        heads = self.network.heads
        rows = heads.name_norm(x.reshape(-1, x.shape[-1])[answers.label_rows])
        loss, counts = spell_loss(heads, rows, answers.label_letters)
        return loss, {f"asked_{name}": value for name, value in counts.items()}

    def _place_loss(self, x: Tensor, image: ImageTargets) -> Tensor:
        """Position in percent of the thing that an image token shows, so that the supervised heads have something to copy."""
        points = image.points.view(-1, 2)
        rows = torch.nonzero(~points[:, 0].isnan())[:, 0]
        if not len(rows):
            return x.sum() * 0
        heads = self.network.heads
        normed = heads.place_norm(x.reshape(-1, x.shape[-1])[rows])
        logs = heads.place(normed).float().unflatten(-1, (2, NUMBERS)).log_softmax(-1)
        soft = soft_numbers(points[rows].reshape(-1), self.weights.softness).view(-1, 2, NUMBERS)
        return -(soft * logs).sum(-1).mean()


@dataclass(frozen=True)
class _Attention:
    """What attention supervision has in common for all blocks; `heads` is how many are supervised."""

    config: DecoderConfig
    inputs: ModelInputs
    mask: Tensor
    heads: int

    def of(self, block: DecoderBlock, x: Tensor) -> _BlockAttention:
        """Return queries and keys of a block. x: [B, T, D], its input."""
        config = self.config
        rotary = rotary_table(self.inputs.positions, config.head_dim, config.rope_theta)
        normed = x if block.norm_after else block.attention_norm(x)
        query, key, _ = block.attention.project(normed, rotary)
        key = key.repeat_interleave(config.heads // config.kv_heads, 1)
        return _BlockAttention(query[:, : self.heads], key[:, : self.heads], self.mask)


@dataclass(frozen=True)
class _BlockAttention:
    """Queries and keys [B, H, T, d] of the supervised heads of one block; mask [B, 1, T, T]."""

    query: Tensor
    key: Tensor
    mask: Tensor

    def loss(self, rows: Tensor, look_at: Tensor) -> Tensor:
        """Return minus the mean logarithm of the attention that the tokens `rows` [Q] give to the tokens `look_at` [Q, T]."""
        loss = self.query.sum() * 0
        if not len(rows):
            return loss
        _, heads, length, width = self.query.shape
        image, position = rows // length, rows % length
        # Image by image, so that no key is copied for every row.
        for index in sorted(set(image.tolist())):
            mine = torch.nonzero(image == index)[:, 0]
            query = self.query[index][:, position[mine]]
            scores = torch.einsum("hqd,hkd->hqk", query, self.key[index]).float()
            allowed = self.mask[index, 0][position[mine]]
            scores = (scores * width**-0.5).masked_fill(~allowed, float("-inf"))
            logs = scores.log_softmax(-1).masked_fill(~look_at[mine], float("-inf"))
            loss = loss - logs.logsumexp(-1).sum()
        return loss / (len(rows) * heads)
