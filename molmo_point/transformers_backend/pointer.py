"""`TransformersPointer`: a vision-language model in this process, through transformers' own implementation of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from molmo_point.arguments import check_request
from molmo_point.counting.tiled import count_in_tiles
from molmo_point.engine.detokenize import Detokenizer
from molmo_point.errors import PointError, QueryError, UsageError
from molmo_point.image_like import ImageLike
from molmo_point.images import Array, load_image
from molmo_point.pointer import Tiles, all_or_error
from molmo_point.points import Pointing
from molmo_point.transformers_backend.generation import generate
from molmo_point.vlm.formats import PointFormat
from molmo_point.vlm.reply import Exchange, Reply, Token
from molmo_point.vlm.vision_language import VisionLanguagePointer


@dataclass(frozen=True)
class ProcessedQuestion:
    """An image and a prompt as the processor made them.

    Attributes:
        inputs: Of the model, one row.
        size: (width, height) of the original image.
        sent_size: Of the image after the processor's resizing, where a format counts in its pixels; else `size`.
    """

    inputs: Any
    size: tuple[int, int]
    sent_size: tuple[int, int]


class TransformersPointer(VisionLanguagePointer[ProcessedQuestion]):
    """A model that transformers implements. Safe to use from several threads, which take turns.

    Args:
        model: A transformers model with `generate`, in evaluation mode.
        processor: Its processor, with a chat template.
        name: Of the model.
        form: How it writes points.
        max_new_tokens: Of an answer.
    """

    def __init__(
        self, model: Any, processor: Any, *, name: str, form: PointFormat, max_new_tokens: int
    ) -> None:
        super().__init__(name, form, None)
        self._network = model
        self._processor = processor
        self._max_new_tokens = max_new_tokens
        self._lock = threading.Lock()
        self._control = _control_tokens(processor.tokenizer)

    def point_many(
        self, requests: Iterable[tuple[ImageLike, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        """As `Pointer.point_many`, one after the other; `timeout_s` is the budget of all together."""
        until = _deadline(self._budget(timeout_s))
        results: list[Pointing | PointError] = []
        for number, request in enumerate(requests):
            try:
                image, query = check_request(request, number)
                results.append(self.point(image, query, timeout_s=_left(until)))
            except PointError as error:
                results.append(error)
        return all_or_error(results)

    def close(self) -> None:
        """Free the model."""
        self._network = None

    def _count_in_tiles(
        self, image: ImageLike, query: str, tiles: Tiles, timeout_s: float | None
    ) -> Pointing:
        def look(images: Sequence[Array], left_s: float | None) -> list[Pointing]:
            until = _deadline(left_s)
            return [self.count(each, query, timeout_s=_left(until)) for each in images]

        return count_in_tiles(look, image, tiles, timeout_s=timeout_s)

    def _question(
        self, image: ImageLike, prompt: str, form: PointFormat | None
    ) -> ProcessedQuestion:
        if self._network is None:
            raise UsageError(f"{self.model} was closed: load it again")
        found = [token for token in self._control if token in prompt]
        if found:
            raise QueryError(f"expected words, got the control token {found[0]!r} in the query")
        upright = Image.fromarray(load_image(image))
        content = [{"type": "image", "image": upright}, {"type": "text", "text": prompt}]
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        counted = form is not None and form.sent_size is not None
        seen = self._seen_size(inputs) if counted else upright.size
        return ProcessedQuestion(inputs, upright.size, seen)

    def _seen_size(self, inputs: Any) -> tuple[int, int]:
        """Return (width, height) of the image after the processor's resizing.

        Raises:
            UsageError: The processor does not say it.
        """
        side = getattr(getattr(self._processor, "image_processor", None), "patch_size", None)
        if "image_grid_thw" not in inputs or not isinstance(side, int):
            raise UsageError(
                f"expected a processor that names the size it resizes images to (image_grid_thw), as Qwen2.5-VL's; {self.model} "
                "has another: choose another markup="
            )
        _, rows, columns = inputs["image_grid_thw"][0].tolist()
        return columns * side, rows * side

    def _exchange(
        self, question: ProcessedQuestion, timeout_s: float | None, *, scored: bool
    ) -> Exchange:
        network = self._network
        reply = Reply(prompt_tokens=int(question.inputs["input_ids"].shape[1]))
        detokenizer = Detokenizer(self._processor.tokenizer)
        tokens = generate(
            network,
            question.inputs.to(network.device),
            max_new_tokens=self._max_new_tokens,
            until=_deadline(timeout_s),
            lock=self._lock,
        )
        while True:
            try:
                token = next(tokens)
            except StopIteration as end:
                reply.finish_reason = end.value
                break
            reply.new_tokens += 1
            piece = detokenizer.push([token.id])
            reply.text += piece
            reply.tokens.append(Token(piece, token.logprob))
            if piece:
                yield piece
        rest = detokenizer.finish()
        reply.text += rest
        if rest:
            yield rest
        return reply


def _control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Return the texts that a tokenizer reads as control tokens wherever they stand."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple(str(token) for token in added if token.special)


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())
