"""Model, tokenizer, caches and options of one checkpoint: from a picture and a question to an answer being written.

`Engine` prepares requests and drives the decoder, one request alone or many side by side; `local` wears the `Pointer` interface.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from molmo_point.engine.answer import Effort, PointAnswer, TextAnswer
from molmo_point.engine.batch import BatchDecoder, Job
from molmo_point.engine.drafting import GrammarDrafter, Kind
from molmo_point.engine.failures import with_memory
from molmo_point.engine.generate import (
    MAX_DRAFT,
    Decoding,
    Drafter,
    Limits,
    NoDraft,
    Step,
    generate,
)
from molmo_point.engine.image_prefix import EncodedPicture, PictureEncoder
from molmo_point.engine.options import EngineOptions as EngineOptions
from molmo_point.engine.score_calibration import Calibration
from molmo_point.engine.uncertainty import NumberTokens, Trace
from molmo_point.errors import ModelFailed, QueryError, UsageError
from molmo_point.images import load_image
from molmo_point.markup import count_prompt, guess_label, point_prompt
from molmo_point.model.molmo import Molmo
from molmo_point.pointer import ImageLike, check_timeout
from molmo_point.points import Pointing, Status, Timing
from molmo_point.preprocess.inputs import check_length
from molmo_point.preprocess.prompt import check_query, wrap
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.repeats import Repeats


@dataclass(frozen=True, eq=False)
class PointRequest:
    """A question for points, ready to be decoded."""

    picture: EncodedPicture
    decoding: Decoding
    answer: PointAnswer


@dataclass(frozen=True, eq=False)
class TextRequest:
    """A free question, ready to be decoded."""

    decoding: Decoding
    answer: TextAnswer


class Engine:
    """One checkpoint at work. Safe to use from several threads.

    Args:
        name: What `Pointing.model` says.
        calibration: Of this checkpoint; without it scores and covariances are raw.
        shared: Several processes hold the model together: no pass is repeated where memory runs out.
    """

    def __init__(
        self,
        model: Molmo,
        tokenizer: Tokenizer,
        name: str,
        options: EngineOptions,
        calibration: Calibration | None,
        *,
        shared: bool = False,
    ) -> None:
        self._process = os.getpid()
        self._shared = shared
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.options = options
        self._calibration = calibration
        self._numbers = NumberTokens(tokenizer)
        self._lone_decoders: list[BatchDecoder] = []
        self.encoder = PictureEncoder(
            model,
            tokenizer.special,
            picture_bytes=options.picture_cache_bytes,
            crop_bytes=options.crop_cache_bytes,
        )

    def encode(self, image: ImageLike) -> tuple[EncodedPicture, Timing]:
        """Read a picture; the timing holds what was spent on it now: little, if it was remembered.

        Raises:
            ImageError: Not a picture.
            ModelFailed: NaN, or out of memory.
            UsageError: This process was forked from the one that loaded the model.
        """
        self._check_process()
        start = time.perf_counter()
        array = with_memory(lambda: load_image(image), self._free)
        decoded = time.perf_counter() - start
        picture, fresh = with_memory(lambda: self.encoder.encode(array), self._free)
        if not fresh:
            return picture, Timing(preprocess_s=decoded)
        timing = Timing(
            preprocess_s=decoded + picture.preprocess_s,
            vision_s=picture.vision_s,
            prefill_s=picture.prefill_s,
            crops=picture.encoded,
        )
        return picture, timing

    def no_picture(self) -> EncodedPicture:
        """Return what comes before a question without a picture; errors as in `encode`."""
        self._check_process()
        return with_memory(self.encoder.no_picture, self._free)

    def ask_points(
        self,
        picture: EncodedPicture,
        cost: Timing,
        query: str,
        kind: Kind,
        started: float,
        timeout_s: float | None,
    ) -> PointRequest:
        """Prepare a question for points.

        Raises:
            QueryError: Empty, or too long for the model.
            UsageError: A timeout that is none.
        """
        question = (count_prompt if kind == "count" else point_prompt)(check_query(query))
        prompt = self.tokenizer.encode(wrap(question))
        label = guess_label(query)
        decoding = self._decoding(picture, prompt, kind, label, started, timeout_s)
        length = picture.cache.length + len(prompt)
        effort = Effort(started, cost.model_copy(update={"prompt_tokens": length}))
        blank = Pointing(
            query=query,
            status=Status.TRUNCATED,
            image_size=picture.image_size,
            model=self.name,
            calibrated=self._calibration is not None,
        )
        trace = Trace(self._numbers, self._calibration)
        repeats = Repeats(calibrated=self._calibration is not None)
        answer = PointAnswer(self.tokenizer, effort, trace, repeats, blank, label)
        return PointRequest(picture, decoding, answer)

    def ask_text(
        self, picture: EncodedPicture, question: str, started: float, timeout_s: float | None
    ) -> TextRequest:
        """Prepare a free question; errors as in `ask_points`."""
        prompt = self.tokenizer.encode(wrap(check_query(question)))
        decoding = self._decoding(picture, prompt, "text", "", started, timeout_s)
        return TextRequest(decoding, TextAnswer(self.tokenizer))

    def run(self, picture: EncodedPicture, decoding: Decoding) -> Iterator[Step]:
        """Decode one answer."""
        if self.options.cuda_graphs:
            return self._run_graphed(picture, decoding)
        capacity = picture.cache.length + decoding.longest
        with torch.inference_mode():
            cache = with_memory(lambda: picture.cache.fork(capacity), self._free)
        return generate(self.model, cache, decoding, self._free)

    def decoder(self, rows: int) -> BatchDecoder:
        """Return a decoder for up to so many answers side by side, or as many as `batch_cache_bytes` allows.

        Where memory is short, it is one for fewer answers.

        Raises:
            QueryError: Not even one answer fits the budget; with the numbers.
            ModelFailed: Not even one answer fits the memory.
        """
        self._check_process()
        most, capacity = self._batch_size()
        rows = min(rows, most)
        while True:
            make = functools.partial(
                BatchDecoder,
                self.model,
                rows,
                capacity,
                graphs=self.options.cuda_graphs,
                free=None if self._shared else self._free,
            )
            try:
                return with_memory(make, self._free)
            except ModelFailed:
                if rows == 1 or self._shared:
                    raise
                rows //= 2

    def _free(self) -> bool:
        """Forget pictures and crops, and give cached memory back to the device; return whether that was any."""
        if self._shared:
            return False
        held = self.encoder.pictures.nbytes + self.encoder.crops.nbytes
        self.encoder.pictures.clear()
        self.encoder.crops.clear()
        if self.model.device.type == "cuda":
            held += torch.cuda.memory_reserved(self.model.device) - torch.cuda.memory_allocated(
                self.model.device
            )
            torch.cuda.empty_cache()
        return held > 0

    def _check_process(self) -> None:
        """Refuse to work in a forked process: torch's threads are not there, and a pass would wait for them without end.

        Raises:
            UsageError: This process was forked from the one that loaded the model.
        """
        if os.getpid() != self._process:
            raise UsageError(
                f"the model {self.name!r} was loaded in process {self._process}, and this is a fork of it: load it "
                "in each worker, start workers with multiprocessing's 'spawn', or share one model through `molmo-point serve` "
                "and `connect`"
            )

    def _run_graphed(self, picture: EncodedPicture, decoding: Decoding) -> Iterator[Step]:
        # Recordings belong to a decoder's cache: one is kept for each answer that was ever written at the same time.
        decoder = self._lone_decoders.pop() if self._lone_decoders else self.decoder(1)
        job = Job(picture.cache, decoding, None)
        try:
            for _, step in decoder.run([job]):
                if isinstance(step, ModelFailed):
                    raise step
                if step is not None:
                    yield step
        finally:
            decoder.drop(job)
            self._lone_decoders.append(decoder)

    def _decoding(
        self,
        picture: EncodedPicture,
        prompt: list[int],
        kind: Kind,
        label: str,
        started: float,
        timeout_s: float | None,
    ) -> Decoding:
        self._check_process()
        timeout_s = check_timeout(timeout_s)
        limit = self.model.config.decoder.max_positions
        length = picture.cache.length
        check_length(length, len(prompt), 1, limit)
        room = min(self.options.max_new_tokens, limit - length - len(prompt))
        drafter: Drafter = NoDraft()
        if self.options.drafts:
            drafter = GrammarDrafter(self.tokenizer, kind, label, prompt)
        deadline = None if timeout_s is None else started + timeout_s
        return Decoding(
            prompt,
            stop=self.tokenizer.special.end_of_text,
            limits=Limits(room, deadline),
            drafter=drafter,
        )

    def _batch_size(self) -> tuple[int, int]:
        """Return how many rows of how many tokens a batch may have.

        Raises:
            QueryError: Not even one row fits the budget; with the numbers.
        """
        sizes, options = self.model.config.decoder, self.options
        # The longest picture of 12 crops takes 1460 tokens; a question of 4000 characters about 1000.
        capacity = min(sizes.max_positions, 2500 + options.max_new_tokens) + MAX_DRAFT
        token = 2 * sizes.layers * sizes.kv_width * self.model.dtype.itemsize
        rows = min(options.max_batch, options.batch_cache_bytes // (capacity * token))
        if rows < 1:
            raise QueryError(
                f"one answer of {capacity} tokens takes {capacity * token:,} bytes of keys and values, batch_cache_bytes is "
                f"{options.batch_cache_bytes:,}: raise it"
            )
        return rows, capacity
