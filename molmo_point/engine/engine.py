"""Model, tokenizer, caches and options of one checkpoint: prepares questions, and decodes answers one at a time or in batches.

image, timing = engine.encode("kitchen.png")
request = engine.prepare_points(image, timing, Question.now("mug", "point"))
for point in engine.stream(request): ...
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Generator, Iterator
from typing import TypeVar

import torch

from molmo_point.arguments import check_detail, listed_images
from molmo_point.counting.interval import CountCalibration
from molmo_point.engine.answer import Answer, PointAnswer, TextAnswer, TimingRecorder
from molmo_point.engine.batch import BatchDecoder, BatchEntry
from molmo_point.engine.batch_size import batch_size
from molmo_point.engine.crop_threads import CropThreads
from molmo_point.engine.draft_width import DraftWidth
from molmo_point.engine.encoded_image import AnyImage, EncodedImage
from molmo_point.engine.failures import with_memory
from molmo_point.engine.generate import (
    DecodeState,
    Drafter,
    Limits,
    NoDraft,
    Step,
    generate,
)
from molmo_point.engine.image_calibration import ImageCalibration
from molmo_point.engine.image_prefix import ImageEncoder
from molmo_point.engine.options import EngineOptions as EngineOptions
from molmo_point.engine.point_language import ChosenPatches, PointLanguage, WrittenPoints
from molmo_point.engine.point_map import read_point_map
from molmo_point.engine.prepared_image import PreparedImage
from molmo_point.engine.question import Question
from molmo_point.engine.request import PointRequest, Request, TextRequest
from molmo_point.engine.score_calibration import Calibration
from molmo_point.errors import ModelFailed, UsageError
from molmo_point.images import load_image
from molmo_point.markup import count_prompt, guess_label, point_prompt
from molmo_point.model.image_reader import image_reader
from molmo_point.model.molmo import Molmo
from molmo_point.point_map import PointMap
from molmo_point.pointer import Detail, Images
from molmo_point.points import FinishReason, Pointing, Status, Text, Timing
from molmo_point.preprocess.inputs import check_length
from molmo_point.preprocess.prompt import prompt_tokens
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.repeats import Repeats

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Engine:
    """One loaded checkpoint. Thread-safe.

    Args:
        name: `Pointing.model`.
        calibration: Of this checkpoint; None = raw scores and covariances.
        counts: Its calibration of counts; None = no intervals.
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
        counts: CountCalibration | None = None,
        shared: bool = False,
        ends: frozenset[int] = frozenset(),
    ) -> None:
        self._process = os.getpid()
        self._shared, self._ends = shared, ends
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.options = options
        self._calibration = calibration
        self._language: PointLanguage
        if model.points is None:
            self._language = WrittenPoints(tokenizer, model.config.generation)
        else:
            self._language = ChosenPatches(model, tokenizer, options.point_decoding)
        self.counts = counts
        self._single_row_decoders: list[BatchDecoder] = []
        self.encoder = ImageEncoder(
            model,
            tokenizer,
            # Processes that share a model run it in one thread: its collective operations have an order.
            model.vision if shared else CropThreads(model.vision),
            model.decoder if shared else image_reader(model),
            image_bytes=options.image_cache_bytes,
            crop_bytes=options.crop_cache_bytes,
            crops_per_batch=options.vision_batch,
            tokens_per_chunk=options.prefix_chunk,
            low_as_high=options.point_decoding == "as_trained",
        )

    def prepare(self, images: Images, detail: Detail | None = None) -> AnyImage:
        """Return the images decoded and cut into crops, or encoded if they are cached, without the model. Raises as `encode`.

        Args:
            detail: How finely they are looked at; None = `EngineOptions.detail`.
        """
        self._check_process()
        finely = self.options.detail if detail is None else check_detail(detail)
        listed, times_s = listed_images(images)
        arrays = with_memory(lambda: [load_image(image) for image in listed], self.free)
        return with_memory(lambda: self.encoder.prepare(arrays, times_s, finely), self.free)

    def encode(self, images: Images, detail: Detail | None = None) -> tuple[EncodedImage, Timing]:
        """Return the encoded images, and the time spent on them now: little if they were cached. Arguments as `prepare`.

        Raises:
            ImageError: Not an image.
            ModelFailed: The model computed NaN or infinity, or memory ran out.
            QueryError: They take more tokens than the model holds.
            UsageError: This process was forked from the one that loaded the model, or the model takes no such images.
        """
        start = time.perf_counter()
        prepared = self.prepare(images, detail)
        preprocessed = time.perf_counter() - start
        if isinstance(prepared, EncodedImage):
            return prepared, Timing(preprocess_s=preprocessed)
        encoded, timing = with_memory(lambda: self.encoder.encode(prepared), self.free)
        return encoded, timing.model_copy(update={"preprocess_s": preprocessed})

    def no_image(self) -> EncodedImage:
        """Return the prefix of a question without an image. Raises as `encode`."""
        self._check_process()
        return with_memory(self.encoder.no_image, self.free)

    def prepare_points(
        self, image: EncodedImage, timing: Timing, question: Question
    ) -> PointRequest:
        """Return a request for points.

        Args:
            timing: What encoding the image took; it is part of the answer's timing.

        Raises:
            QueryError: The question does not fit the model's positions.
        """
        label = guess_label(question.query)
        prompt = self._prompt(question)
        state = self._decode_state(image, prompt, question, label)
        timing = timing.model_copy(
            update={"prompt_tokens": image.tokens + len(prompt), "detail": image.detail}
        )
        blank = self._blank(image, question)
        calibration = ImageCalibration.of(self._calibration, image.summary)
        answer = PointAnswer(
            self.tokenizer,
            TimingRecorder(question.started, timing),
            self._language.confidence(image, calibration),
            Repeats(calibrated=self._calibration is not None),
            calibration.mark(blank) if calibration else blank,
            self._language.parser(image, label),
            self.counts if question.kind == "count" else None,
        )
        return Request(image, state, answer)

    def prepare_text(self, image: EncodedImage, question: Question) -> TextRequest:
        """Return a request for free text. Raises as `prepare_points`."""
        prompt = self._prompt(question)
        state = self._decode_state(image, prompt, question, label="")
        return Request(
            image, state, TextAnswer(self.tokenizer, image.tokens + len(prompt), image.detail)
        )

    def count_tokens(self, image: PreparedImage, question: Question) -> int:
        """Return how many tokens an image and a question take.

        Raises:
            QueryError: They do not fit the model's positions.
        """
        prompt = len(self._prompt(question))
        check_length(image.tokens, prompt, 1, self.model.config.decoder.max_positions)
        return image.tokens + prompt

    def empty_answer(self, image: PreparedImage, question: Question) -> Pointing | Text:
        """Return the answer to a question whose deadline passed before its image was encoded."""
        if question.kind == "text":
            return Text("", FinishReason.TIMEOUT)
        timing = Timing(total_s=time.perf_counter() - question.started, detail=image.detail)
        return self._blank(image, question).replace(timing=timing)

    def point_map(self, image: EncodedImage, query: str) -> PointMap:
        """Return how probable each place is as the first point of the answer, in one pass.

        Raises:
            UsageError: The model has no heads that point, or several images are asked about.
        """
        if self.model.points is None or image.places is None or len(image.places.shapes) != 1:
            raise UsageError(
                "expected a MolmoPoint model and one image: other models write their points as text and have no map of the image"
            )
        asked = Question.now(query, "point")
        prompt = prompt_tokens(self.tokenizer, point_prompt(asked.query))
        check_length(image.cache.length, len(prompt), 16, self.model.config.decoder.max_positions)
        return with_memory(
            lambda: read_point_map(self.model, self.tokenizer, image, prompt, query), self.free
        )

    def stream(self, request: Request[Answer[Piece, Result]]) -> Generator[Piece, None, Result]:
        """Decode one answer: yield points or pieces of text as they are complete, return the whole answer.

        Raises:
            ModelFailed: The model computed NaN or infinity, or memory ran out.
        """
        state, answer = request.state, request.answer
        for step in self.decode(request.image, state):
            yield from answer.take(step)
        assert state.finish_reason is not None
        pieces, result = answer.finish(state.finish_reason)
        yield from pieces
        return result

    def decode(self, image: EncodedImage, state: DecodeState) -> Iterator[Step]:
        """Decode the tokens of one answer.

        A batch of one row would give the same steps and takes 5 to 11 % longer (CPU, `nano`), so that single answers have a pass
        of their own.
        """
        if self.options.cuda_graphs:
            return self._decode_graphed(image, state)
        capacity = image.cache.length + state.max_total_tokens
        with torch.inference_mode():
            cache = with_memory(lambda: image.cache.fork(capacity), self.free)
        return generate(self.model, cache, state, self.free)

    def make_batch_decoder(self, rows: int) -> BatchDecoder:
        """Return a decoder of `rows` rows, or of as many as `batch_cache_bytes` and the memory allow.

        Raises:
            QueryError: Not even one row fits `batch_cache_bytes`; with the numbers.
            ModelFailed: Not even one row fits the memory.
        """
        self._check_process()
        max_rows, capacity = batch_size(self.model.config, self.options, self.model.dtype)
        rows = min(rows, max_rows)
        while True:
            make = functools.partial(
                BatchDecoder,
                self.model,
                rows,
                capacity,
                graphs=self.options.cuda_graphs,
                free=None if self._shared else self.free,
            )
            try:
                return with_memory(make, self.free)
            except ModelFailed:
                if rows == 1 or self._shared:
                    raise
                rows //= 2

    def clear_caches(self) -> None:
        """Drop all encoded images and crops."""
        self.encoder.images.clear()
        self.encoder.crops.clear()

    def free(self) -> bool:
        """Drop cached images and crops, and return unused memory to the device; return whether there was any."""
        if self._shared:
            return False
        held = self.encoder.images.nbytes + self.encoder.crops.nbytes
        self.clear_caches()
        device = self.model.device
        if device.type == "cuda":
            held += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            torch.cuda.empty_cache()
        return held > 0

    @functools.cached_property
    def draft_width(self) -> DraftWidth | None:
        """Which drafts pay. Processes that share a model must make the same passes, and would measure different times."""
        return None if self._shared else DraftWidth.of(self.model)

    def _check_process(self) -> None:
        """Refuse to run in a forked process: torch's threads do not exist there, and a pass would wait for them endlessly.

        Raises:
            UsageError: This process was forked from the one that loaded the model.
        """
        if os.getpid() != self._process:
            raise UsageError(
                f"the model {self.name!r} was loaded in process {self._process}, and this is a fork of it: load it "
                "in each worker, start workers with multiprocessing's 'spawn', or share one model through `molmo-point serve` "
                "and `connect`"
            )

    def _decode_graphed(self, image: EncodedImage, state: DecodeState) -> Iterator[Step]:
        # A recorded graph belongs to one decoder's cache, so that decoders are kept, one for each simultaneous answer.
        decoder = (
            self._single_row_decoders.pop()
            if self._single_row_decoders
            else self.make_batch_decoder(1)
        )
        entry = BatchEntry(image.cache, state, None)
        try:
            for _, step in decoder.run([entry]):
                if isinstance(step, ModelFailed):
                    raise step
                if step is not None:
                    yield step
        finally:
            decoder.cancel(entry)
            self._single_row_decoders.append(decoder)

    def _prompt(self, question: Question) -> list[int]:
        """Return the tokens of a question."""
        query = question.query
        if question.kind == "text":
            return prompt_tokens(self.tokenizer, query.strip())
        text = count_prompt(query) if question.kind == "count" else point_prompt(query)
        return prompt_tokens(self.tokenizer, text)

    def _blank(self, image: AnyImage, question: Question) -> Pointing:
        """Return the fields of an answer that do not depend on what the model writes."""
        return Pointing(
            query=question.query,
            status=Status.TRUNCATED,
            image_size=image.image_size,
            image_sizes=image.image_sizes if len(image.image_sizes) > 1 else (),
            model=self.name,
            calibrated=self._calibration is not None,
        )

    def _decode_state(
        self, image: EncodedImage, prompt: list[int], question: Question, label: str
    ) -> DecodeState:
        self._check_process()
        positions = self.model.config.decoder.max_positions
        length = image.cache.length
        check_length(length, len(prompt), 1, positions)
        longest = question.max_new_tokens or self.options.max_new_tokens
        longest = min(longest, self.options.max_new_tokens, positions - length - len(prompt))
        drafter: Drafter = NoDraft()
        if self.options.drafts:
            drafter = self._language.drafter(image, question.kind, label, prompt, self.draft_width)
        return DecodeState(
            prompt,
            stop=self.tokenizer.special.end,
            limits=Limits(longest, question.deadline),
            drafter=drafter,
            choice=self._language.choice(image),
            ends=self._ends,
        )
