"""The policy: what the thread that owns the model does next.

Three kinds of work wait for one model: crops for the vision tower, image tokens for the decoder, and answers that are being
decoded. The first two are done in chunks (a batch of crops, some tokens of one image), so that answers go on in between.

1. After a chunk, answers make a pass: none of them is held up for longer than one chunk.
2. Tokens go before crops: an image that is nearly finished brings its question sooner than one that has just begun.
3. Without answers, chunks follow each other; without images, passes do.

Whose image comes next is not decided here (`image_stages`). A server adds one only when fewer crops wait before it than the next
batch holds (`takes_image`), so that its queue has the choice up to the last moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """A piece of work of the model's thread."""

    VISION = "vision"
    PREFIX = "prefix"
    DECODE = "decode"


@dataclass(frozen=True)
class Waiting:
    """What waits for the model.

    Attributes:
        crops: Crops that have to run through the vision tower.
        tokens: Image tokens that have to run through the decoder, of images whose crops are all seen.
        answers: Answers that are being decoded.
    """

    crops: int
    tokens: int
    answers: int


class Policy:
    """Chooses the next stage. Holds one fact: whether the last one was a chunk of an image.

    Args:
        crops_per_batch: Most crops of a chunk.
    """

    def __init__(self, crops_per_batch: int) -> None:
        self._crops_per_batch = crops_per_batch
        self._after_chunk = False

    def next(self, waiting: Waiting) -> Stage | None:
        """Return the stage to work on now; None where nothing waits."""
        stage = self._choose(waiting)
        self._after_chunk = stage in (Stage.VISION, Stage.PREFIX)
        return stage

    def takes_image(self, crops: int) -> bool:
        """Return whether another image can be added behind so many crops without waiting for a whole batch of them."""
        return crops < self._crops_per_batch

    def _choose(self, waiting: Waiting) -> Stage | None:
        if waiting.answers and self._after_chunk:
            return Stage.DECODE
        if waiting.tokens:
            return Stage.PREFIX
        if waiting.crops:
            return Stage.VISION
        return Stage.DECODE if waiting.answers else None
