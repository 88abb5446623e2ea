"""`LocalPointer`: a Molmo in this process behind the `Pointer` interface."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch

from molmo_point.config import MolmoConfig
from molmo_point.engine.answer import Effort, Steps, read_points, read_text
from molmo_point.engine.calibration import Calibration, read_calibration
from molmo_point.engine.detokenize import Detokenizer
from molmo_point.engine.drafts import GrammarDrafter, Kind
from molmo_point.engine.generate import Drafter, Limits, NoDraft, generate
from molmo_point.engine.picture import EncodedPicture, PictureEncoder
from molmo_point.engine.uncertainty import NumberTokens, Trace
from molmo_point.images import Array, load_image
from molmo_point.markup import count_prompt, guess_label, point_prompt
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import Progress, load_weights
from molmo_point.pointer import ImageLike, PointStream, TextStream
from molmo_point.points import Pointing, Status, Timing
from molmo_point.preprocess.inputs import check_length
from molmo_point.preprocess.prompt import check_query, wrap
from molmo_point.preprocess.tokenizer import Tokenizer

Result = TypeVar("Result")


@dataclass(frozen=True)
class EngineOptions:
    """How a `LocalPointer` works.

    Attributes:
        max_new_tokens: Most tokens of one answer: 17 to 19 a point with digit-wise tokenizers, so about 40 points.
        drafts: Guess forced markup and let the model confirm it: same answers, fewer passes.
        picture_cache_bytes: Budget for remembered pictures (their keys and values).
        crop_cache_bytes: Budget for remembered vision features of crops.
    """

    max_new_tokens: int = 768
    drafts: bool = True
    picture_cache_bytes: int = 512 * 1024 * 1024
    crop_cache_bytes: int = 256 * 1024 * 1024


class LocalPointer:
    """A model in this process.

    Args:
        model: Filled network.
        tokenizer: Of the same checkpoint.
        name: What `Pointing.model` says.
        calibration: Of this checkpoint; without it scores and covariances are raw.
    """

    def __init__(
        self,
        model: Molmo,
        tokenizer: Tokenizer,
        name: str,
        options: EngineOptions = EngineOptions(),
        calibration: Calibration | None = None,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._name = name
        self._options = options
        self._calibration = calibration
        self._numbers = NumberTokens(tokenizer)
        self._encoder = PictureEncoder(
            model,
            tokenizer.special,
            picture_bytes=options.picture_cache_bytes,
            crop_bytes=options.crop_cache_bytes,
        )

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        name: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        options: EngineOptions = EngineOptions(),
        progress: Progress | None = None,
    ) -> LocalPointer:
        """Load a checkpoint folder.

        Raises:
            CheckpointError: The folder is not a whole Molmo checkpoint.
        """
        config = MolmoConfig.from_folder(folder)
        tokenizer = Tokenizer(folder)
        model = load_weights(folder, config, device=device, dtype=dtype, progress=progress)
        return cls(model, tokenizer, name, options, read_calibration(folder))

    @property
    def model(self) -> str:
        return self._name

    @property
    def network(self) -> Molmo:
        """The network itself, for benchmarks and tests."""
        return self._model

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer."""
        return self._tokenizer

    def point(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        return drain(
            self.stream(image, query, timeout_s=timeout_s, stamp_ns=stamp_ns, frame_id=frame_id)
        )

    def count(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        started = time.perf_counter()
        question = count_prompt(check_query(query))
        picture, timing = self._encode(image)
        pointing = drain(
            self._points(picture, timing, query, "count", question, started, timeout_s)
        )
        return pointing.with_(stamp_ns=stamp_ns, frame_id=frame_id)

    def ask(self, image: ImageLike, question: str, *, timeout_s: float | None = None) -> str:
        return drain(self.stream_text(image, question, timeout_s=timeout_s))

    def stream(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        started = time.perf_counter()
        question = point_prompt(check_query(query))
        picture, timing = self._encode(image)
        pointing = yield from self._points(
            picture, timing, query, "point", question, started, timeout_s
        )
        return pointing.with_(stamp_ns=stamp_ns, frame_id=frame_id)

    def stream_text(
        self, image: ImageLike | None, question: str, *, timeout_s: float | None = None
    ) -> TextStream:
        """Answer in pieces; `image` may be None for a question without a picture."""
        started = time.perf_counter()
        question = check_query(question)
        picture = self._encoder.no_picture() if image is None else self._encode(image)[0]
        return (yield from self._text(picture, question, started, timeout_s))

    def open(self, image: ImageLike) -> LocalView:
        picture, timing = self._encode(image)
        return LocalView(self, picture, timing)

    def point_many(
        self, requests: Iterable[tuple[ImageLike, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        deadline = None if timeout_s is None else time.perf_counter() + timeout_s
        answers = []
        for image, query in requests:
            left = None if deadline is None else max(0.0, deadline - time.perf_counter())
            answers.append(self.point(image, query, timeout_s=left))
        return answers

    def close(self) -> None:
        self._encoder.pictures.clear()
        self._encoder.crops.clear()

    def _encode(self, image: ImageLike) -> tuple[EncodedPicture, Timing]:
        """Read a picture; the timing holds what was spent on it now: nothing, if it was remembered."""
        start = time.perf_counter()
        array: Array = load_image(image)
        decoded = time.perf_counter() - start
        picture, fresh = self._encoder.encode(array)
        timing = Timing(preprocess_s=decoded)
        if fresh:
            timing = Timing(
                preprocess_s=decoded + picture.preprocess_s,
                vision_s=picture.vision_s,
                prefill_s=picture.prefill_s,
                crops=picture.encoded,
            )
        return picture, timing

    def _points(
        self,
        picture: EncodedPicture,
        timing: Timing,
        query: str,
        kind: Kind,
        question: str,
        started: float,
        timeout_s: float | None,
    ) -> PointStream:
        prompt = self._tokenizer.encode(wrap(question))
        tokens = picture.cache.length + len(prompt)
        effort = Effort(started, timing.model_copy(update={"prompt_tokens": tokens}))
        label = guess_label(query)
        steps = self._steps(picture, prompt, kind, label, started, timeout_s)
        blank = Pointing(
            query=query,
            status=Status.TRUNCATED,
            image_size=picture.image_size,
            model=self._name,
            calibrated=self._calibration is not None,
        )
        trace = Trace(self._numbers, self._calibration)
        return read_points(effort.watch(steps), self._tokenizer, effort, trace, blank, label)

    def _text(
        self, picture: EncodedPicture, question: str, started: float, timeout_s: float | None
    ) -> TextStream:
        prompt = self._tokenizer.encode(wrap(question))
        steps = self._steps(picture, prompt, "text", "", started, timeout_s)
        stream = Detokenizer(self._tokenizer)
        yield from read_text(steps, stream, self._tokenizer.special.end_of_text)
        return stream.text.strip()

    def _steps(
        self,
        picture: EncodedPicture,
        prompt: list[int],
        kind: Kind,
        label: str,
        started: float,
        timeout_s: float | None,
    ) -> Steps:
        limit = self._model.config.decoder.max_positions
        check_length(picture.cache.length, len(prompt), 1, limit)
        room = min(limit, picture.cache.length + len(prompt) + self._options.max_new_tokens)
        deadline = None if timeout_s is None else started + timeout_s
        drafter: Drafter = NoDraft()
        if self._options.drafts:
            drafter = GrammarDrafter(self._tokenizer, kind, label, prompt)
        with torch.inference_mode():
            cache = picture.cache.fork(room)
        return generate(
            self._model,
            cache,
            prompt,
            stop=self._tokenizer.special.end_of_text,
            limits=Limits(self._options.max_new_tokens, deadline),
            drafter=drafter,
        )


class LocalView:
    """One picture of a `LocalPointer`, encoded once, open for many questions."""

    def __init__(self, pointer: LocalPointer, picture: EncodedPicture, timing: Timing) -> None:
        self._pointer = pointer
        self._picture: EncodedPicture | None = picture
        self._timing = timing

    @property
    def image_size(self) -> tuple[int, int]:
        return self._open().image_size

    def point(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        return drain(self.stream(query, timeout_s=timeout_s))

    def count(self, query: str, *, timeout_s: float | None = None) -> Pointing:
        return drain(self._points(query, "count", timeout_s))

    def ask(self, question: str, *, timeout_s: float | None = None) -> str:
        return drain(self.stream_text(question, timeout_s=timeout_s))

    def stream(self, query: str, *, timeout_s: float | None = None) -> PointStream:
        return self._points(query, "point", timeout_s)

    def stream_text(self, question: str, *, timeout_s: float | None = None) -> TextStream:
        started = time.perf_counter()
        text = check_query(question)
        return self._pointer._text(self._open(), text, started, timeout_s)

    def close(self) -> None:
        self._picture = None

    def __enter__(self) -> LocalView:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _points(self, query: str, kind: Kind, timeout_s: float | None) -> PointStream:
        started = time.perf_counter()
        ask = count_prompt if kind == "count" else point_prompt
        question = ask(check_query(query))
        # The first question is charged with the picture, the others cost only themselves.
        timing, self._timing = self._timing, Timing()
        picture = self._open()
        return self._pointer._points(picture, timing, query, kind, question, started, timeout_s)

    def _open(self) -> EncodedPicture:
        if self._picture is None:
            raise ValueError("this view is closed: open the picture again")
        return self._picture


def drain(stream: Generator[object, None, Result]) -> Result:
    """Run a stream to its end and return what it returns."""
    while True:
        try:
            next(stream)
        except StopIteration as end:
            result: Result = end.value
            return result
