"""How far the logits of two versions of a model are apart: both read the same answer, token by token, that the first one wrote.

Points hide this where both answer alike, and exaggerate it where one different token changes everything behind it. Read with the
same tokens before it (teacher forcing), every position of an answer is one comparison.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molmo_point.engine.engine import Engine
from molmo_point.engine.question import Question
from molmo_point.errors import UsageError
from molmo_point.image_like import ImageLike


@dataclass(frozen=True)
class LogitDrift:
    """Two models' logits behind the same tokens.

    Attributes:
        tokens: Positions compared.
        same_tokens: Positions at which both choose the same token.
        median_difference, p99_difference, largest_difference: Over positions, of the largest difference of a position's logits.
        spread: Standard deviation of the first model's logits: what the differences are to be measured by.
    """

    tokens: int
    same_tokens: int
    median_difference: float
    p99_difference: float
    largest_difference: float
    spread: float


def logit_drift(
    first: Engine, second: Engine, questions: Iterable[tuple[ImageLike, str]], *, tokens: int = 32
) -> LogitDrift:
    """Let the first engine answer, and both read the answers.

    Args:
        tokens: Of each answer, at most.

    Raises:
        UsageError: No answer has a token of text.
    """
    same, differences, spreads = 0, [], []
    for image, query in questions:
        question = Question.now(query, "point", max_new_tokens=tokens)
        encoded, timing = first.encode(image)
        request = first.prepare_points(encoded, timing, question)
        ids = list(request.state.pending_tokens)
        prompt = len(ids)
        ids += [token for step in first.decode(encoded, request.state) for token in step.tokens]
        # MolmoPoint's choices of patches are no rows of the table of words.
        known = first.model.config.decoder.embedding_size
        count = next((at for at, token in enumerate(ids) if token >= known), len(ids))
        if count <= prompt:
            continue
        logits = [
            forced_logits(engine, image, ids[:count])[prompt - 1 : -1]
            for engine in (first, second)
        ]
        best = [each.argmax(-1) for each in logits]
        same += int((best[0] == best[1]).sum())
        differences += (logits[0] - logits[1]).abs().amax(-1).tolist()
        spreads += logits[0].std(-1).tolist()
    if not differences:
        raise UsageError("expected questions whose answers are text, got none")
    return LogitDrift(
        tokens=len(differences),
        same_tokens=same,
        median_difference=float(np.median(differences)),
        p99_difference=float(np.quantile(differences, 0.99)),
        largest_difference=max(differences),
        spread=float(np.mean(spreads)),
    )


@torch.inference_mode()
def forced_logits(engine: Engine, image: ImageLike, ids: list[int]) -> Tensor:
    """Return the logits [T, V] float32 behind each of the tokens, which follow the image in one pass."""
    encoded, _ = engine.encode(image)
    model, cache = engine.model, encoded.cache.fork(encoded.cache.length + len(ids))
    positions = torch.arange(cache.length, cache.length + len(ids), device=model.device)[None]
    x = model.embed(torch.tensor([ids], device=model.device))
    hidden = model.decoder(x, positions, cache=cache)
    return model.decoder.logits(hidden[0]).float().cpu()
