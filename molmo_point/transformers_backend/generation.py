"""Greedy decoding through transformers' `generate`: tokens with log-probabilities as they come, until a deadline."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria

from molmo_point.engine.failures import check_finite, is_out_of_memory, out_of_memory
from molmo_point.errors import ModelFailed, PointError
from molmo_point.points import FinishReason

_POLL_S = 0.05
"""How often a consumer that waits for a token looks at its deadline."""


class NewToken(NamedTuple):
    """A token of the answer: its id, and the natural logarithm of its probability among all tokens."""

    id: int
    logprob: float


Tokens = Generator[NewToken, None, FinishReason]
"""Yields tokens; returns why the answer ended. A token that ends the answer is not yielded."""


def generate(
    model: Any,
    inputs: Mapping[str, Any],
    *,
    max_new_tokens: int,
    until: float | None,
    lock: threading.Lock,
) -> Tokens:
    """Decode greedily in a thread of its own; closing the generator stops it after the current token.

    Args:
        model: A transformers model with `generate`.
        inputs: Of one prompt, as its processor gives them.
        until: Deadline on `time.monotonic`; None for none.
        lock: Held while the model computes.

    Raises:
        ModelFailed: Memory ran out, the model computed NaN, or transformers failed.
    """
    run = _Run(model, inputs, max_new_tokens, until, lock)
    run.thread.start()
    try:
        while True:
            try:
                item = run.items.get(timeout=_POLL_S)
            except queue.Empty:
                if run.thread.is_alive() or not run.items.empty():
                    continue
                raise ModelFailed("the model stopped without a result") from None
            if isinstance(item, PointError):
                raise item
            if isinstance(item, FinishReason):
                return item
            yield item
    finally:
        run.cancelled.set()


class _Run:
    """One call of `generate` in a thread, whose tokens and end arrive in `items`."""

    def __init__(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        max_new_tokens: int,
        until: float | None,
        lock: threading.Lock,
    ) -> None:
        self.items: queue.Queue[NewToken | FinishReason | PointError] = queue.Queue()
        self.cancelled = threading.Event()
        self.thread = threading.Thread(target=self._run, name="molmo-transformers", daemon=True)
        self._model = model
        self._inputs = inputs
        self._until = until
        self._lock = lock
        config = model.generation_config
        ends = config.eos_token_id
        self._ends = set(ends) if isinstance(ends, (list, tuple)) else {ends} - {None}
        self._config = _greedy(config, max_new_tokens)
        self._scores = _LogProbabilities()

    def _run(self) -> None:
        try:
            self.items.put(self._generate())
        except PointError as error:
            self.items.put(error)
        except Exception as error:  # raised by transformers or torch
            self.items.put(
                out_of_memory(error)
                if is_out_of_memory(error)
                else ModelFailed(f"transformers failed: {type(error).__name__}: {error}")
            )

    def _generate(self) -> FinishReason:
        left_s = -1.0 if self._until is None else max(0.0, self._until - time.monotonic())
        if not self._lock.acquire(timeout=left_s):
            return FinishReason.TIMEOUT
        try:
            stop = _Deadline(self._until, self.cancelled)
            if stop.passed():
                return FinishReason.TIMEOUT
            tap = _Tap(self.items, self._scores, self._ends)
            with torch.inference_mode():
                self._model.generate(
                    **self._inputs,
                    generation_config=self._config,
                    logits_processor=LogitsProcessorList([self._scores]),
                    stopping_criteria=[stop],
                    streamer=tap,
                )
        finally:
            self._lock.release()
        if tap.ended:
            return FinishReason.STOP
        return FinishReason.TIMEOUT if stop.stopped else FinishReason.LENGTH


def _greedy(config: Any, max_new_tokens: int) -> Any:
    """Return plain greedy decoding with a checkpoint's own special tokens; its sampling and penalties are left out."""
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    )


class _LogProbabilities(LogitsProcessor):  # type: ignore[misc]
    """Keeps the log-probability of the most probable token, which greedy decoding takes."""

    def __init__(self) -> None:
        self.latest = 0.0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        best = scores.max(-1).values
        check_finite(best, scores.dtype)
        self.latest = float((best.float() - scores.float().logsumexp(-1))[0])
        return scores


class _Deadline(StoppingCriteria):  # type: ignore[misc]
    """Stops at a deadline, or once nobody reads the answer any more."""

    def __init__(self, until: float | None, cancelled: threading.Event) -> None:
        self._until = until
        self._cancelled = cancelled
        self.stopped = False

    def passed(self) -> bool:
        """Whether decoding has to stop now."""
        late = self._until is not None and time.monotonic() > self._until
        self.stopped = late or self._cancelled.is_set()
        return self.stopped

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        return torch.full((len(input_ids),), self.passed(), device=input_ids.device)


class _Tap:
    """A streamer: transformers hands it the prompt first, then token by token."""

    def __init__(
        self,
        items: queue.Queue[NewToken | FinishReason | PointError],
        scores: _LogProbabilities,
        ends: set[int],
    ) -> None:
        self._items = items
        self._scores = scores
        self._ends = ends
        self._prompt = True
        self.ended = False

    def put(self, value: Tensor) -> None:
        """Take the prompt, or a token."""
        if self._prompt:
            self._prompt = False
            return
        for token in value.flatten().tolist():
            self.ended = token in self._ends
            if not self.ended:
                self._items.put(NewToken(token, self._scores.latest))

    def end(self) -> None:
        """Do nothing: the call of `generate` itself ends the answer."""
