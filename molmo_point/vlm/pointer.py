"""`OpenAIPointer`: a model behind any server with OpenAI's chat completions (vLLM, SGLang, llama.cpp, LM Studio, Ollama)."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from molmo_point.arguments import check_frame_id, check_query, check_stamp, check_timeout
from molmo_point.client.address import http_address
from molmo_point.client.many import ask_many, count_tiles
from molmo_point.closing import Closing
from molmo_point.counting.tiled import check_tiles
from molmo_point.defaults import CALL_TIMEOUT_S, CONNECT_TIMEOUT_S, OPENAI
from molmo_point.errors import ModelNotFound, UsageError
from molmo_point.image_view import ImageView
from molmo_point.images import load_image
from molmo_point.markup import PointParser
from molmo_point.point_each import point_each
from molmo_point.pointer import (
    ImageLike,
    PointingStream,
    PointStream,
    TextStream,
    Tiles,
    run_to_end,
)
from molmo_point.points import FinishReason, Point, Pointing, Text, Timing
from molmo_point.repeats import Repeats
from molmo_point.vlm.chat import ChatServer, Reply, image_part
from molmo_point.vlm.formats import PointFormat, format_for, read_answer
from molmo_point.vlm.images import Encoding, SentImage, encode_image
from molmo_point.vlm.scores import with_scores

Exchange = Generator[str, None, Reply]
"""Yields pieces of text; returns everything that came."""


class OpenAIPointer(Closing):
    """A vision-language model of another engine. Safe to use from several threads.

    Args:
        url: openai+http(s)://HOST:PORT/v1, or any other path; without one, /v1 is added.
        model: Name of the model on the server; None takes the only one.
        markup: How the model writes points, a name of `molmo_point.vlm.FORMATS`; None decides by the model's name.
        token: Sent as a bearer token.
        timeout_s: Budget of each call that brings none of its own, seconds.
        connect_timeout_s: How long the constructor waits for the list of models.
        max_tokens: Of an answer.
        images: How images are sent.
        logprobs: Ask for log-probabilities, which become scores. A server that refuses them is asked without.

    Raises:
        UsageError: Not such an address, or it is not known how that model writes points.
        ModelNotFound: The server has no such model, or several and none is named.
        ServerGone, Refused, ServiceError: No such server answers.
    """

    batches = False

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        markup: str | None = None,
        token: str | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        max_tokens: int = 1024,
        images: Encoding = "png",
        logprobs: bool = True,
    ) -> None:
        if images not in ("png", "jpeg"):
            raise UsageError(f"expected images as png or jpeg, got {images!r}")
        if max_tokens < 1:
            raise UsageError(f"expected max_tokens of at least 1, got {max_tokens}")
        self._server = ChatServer(_endpoint(url), token)
        self._timeout_s = timeout_s
        self._max_tokens = max_tokens
        self._images: Encoding = images
        self._logprobs = logprobs
        self.model = _named(model, self._server, connect_timeout_s)
        self._format = format_for(self.model, markup)

    def point(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        stream = self.stream(
            image, query, timeout_s=timeout_s, stamp_ns=stamp_ns, frame_id=frame_id
        )
        return run_to_end(stream)

    def count(
        self,
        image: ImageLike,
        query: str,
        *,
        tiles: Tiles = None,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> Pointing:
        """As `Pointer.count`; tiles are cut here and travel side by side. Counts have no interval."""
        if check_tiles(tiles) is not None:
            source = {"stamp_ns": check_stamp(stamp_ns), "frame_id": check_frame_id(frame_id)}
            budget_s = self._budget(timeout_s)
            return count_tiles(self.count, image, query, tiles, budget_s).replace(**source)
        prompt = self._format.count or self._format.prompt
        return run_to_end(self._point(image, query, prompt(query), timeout_s, stamp_ns, frame_id))

    def ask(self, image: ImageLike, question: str, *, timeout_s: float | None = None) -> Text:
        return Text.of(run_to_end(self.stream_text(image, question, timeout_s=timeout_s)))

    def stream(
        self,
        image: ImageLike,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        """As `Pointer.stream`; formats that are read as a whole (JSON, tags) yield their points at the end."""
        prompt = self._format.prompt(check_query(query))
        return self._point(image, query, prompt, timeout_s, stamp_ns, frame_id)

    def stream_text(
        self, image: ImageLike, question: str, *, timeout_s: float | None = None
    ) -> TextStream:
        sent = encode_image(image, self._images, None)
        reply = yield from self._exchange(sent, check_query(question), timeout_s, {})
        return Text(reply.text, reply.finish_reason or FinishReason.LENGTH)

    def open(self, image: ImageLike) -> ImageView:
        """Decode `image` once; the server may keep its own cache of what it encoded."""
        return ImageView(self, load_image(image))

    def point_many(
        self, requests: Iterable[tuple[ImageLike, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        return ask_many(self.point, requests, self._budget(timeout_s))

    def point_each(
        self, image: ImageLike, queries: Sequence[str], *, timeout_s: float | None = None
    ) -> PointingStream:
        """As `Pointer.point_each`; decoded once, but sent with each query: this protocol has one answer a request."""
        return point_each(self, image, queries, self._budget(timeout_s))

    def close(self) -> None:
        self._server.close()

    def _point(
        self,
        image: ImageLike,
        query: str,
        prompt: str,
        timeout_s: float | None,
        stamp_ns: int | None,
        frame_id: str | None,
    ) -> PointStream:
        start = time.perf_counter()
        check_query(query)
        about = {"stamp_ns": check_stamp(stamp_ns), "frame_id": check_frame_id(frame_id)}
        form = self._format
        sent = encode_image(image, self._images, form.sent_size)
        try:
            reply = yield from self._points(sent, prompt, query, timeout_s)
        except UsageError as error:
            if not self._logprobs or "logprobs" not in str(error):
                raise
            self._logprobs = False
            reply = yield from self._points(sent, prompt, query, timeout_s)
        pointing = self._read(form, reply, query, sent)
        if form.parser is None:
            yield from pointing.points
        timing = Timing(
            total_s=time.perf_counter() - start,
            prompt_tokens=reply.prompt_tokens,
            new_tokens=reply.new_tokens,
        )
        return pointing.replace(model=self.model, timing=timing, **about)

    def _points(
        self, sent: SentImage, prompt: str, query: str, timeout_s: float | None
    ) -> Generator[Point, None, Reply]:
        extra = {"logprobs": True} if self._logprobs else {}
        parser = None if self._format.parser is None else self._format.parser(label=query)
        return _points_in(self._exchange(sent, prompt, timeout_s, extra), parser)

    def _read(self, form: PointFormat, reply: Reply, query: str, sent: SentImage) -> Pointing:
        # A server that does not say why the text ended may have cut it.
        cut = reply.finish_reason is not FinishReason.STOP
        pointing = read_answer(form, reply.text, query, sent.size, sent.sent_size, cut=cut)
        return with_scores(pointing, reply.tokens, form.place)

    def _exchange(
        self, sent: SentImage, prompt: str, timeout_s: float | None, extra: dict[str, Any]
    ) -> Exchange:
        body = {
            "model": self.model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        image_part(sent.data, sent.encoding),
                        {"type": "text", "text": prompt},
                    ],
                }
            ],
            "temperature": 0.0,
            "max_tokens": self._max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            **extra,
        }
        return self._server.complete(body, self._budget(timeout_s))

    def _budget(self, timeout_s: float | None) -> float:
        checked = check_timeout(timeout_s)
        return self._timeout_s if checked is None else checked


def _points_in(pieces: Exchange, parser: PointParser | None) -> Generator[Point, None, Reply]:
    """Yield the points that each piece of text completes, where a parser reads them while they come; return the reply."""
    repeats = Repeats(calibrated=False)
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return end.value
        if parser is not None:
            yield from filter(repeats.is_new, parser.feed(piece))


def _endpoint(url: str) -> str:
    """Return the address up to and with its version.

    Raises:
        UsageError: Not openai+http(s)://HOST[:PORT][/PATH].
    """
    address = url.strip()
    if not address.lower().startswith(OPENAI):
        raise UsageError(f"expected an address like {OPENAI}http://gpu:8000/v1, got {url!r}")
    address = address[len(OPENAI) :].rstrip("/")
    base = http_address(address)
    path = address[len(base) :] if address.lower().startswith(base.lower()) else ""
    return base + (path or "/v1")


def _named(model: str | None, server: ChatServer, timeout_s: float) -> str:
    """Return the model's name.

    Raises:
        ModelNotFound: The server does not have it, or has several and none is named.
    """
    names = server.models(timeout_s)
    listed = ", ".join(names[:8]) or "none"
    if model is None and len(names) == 1:
        return names[0]
    if model is None:
        raise ModelNotFound(f"{server.url} has several models: name one with model=, of {listed}")
    # Ollama lists "name:tag", and takes the name alone.
    if names and model not in names and f"{model}:latest" not in names:
        raise ModelNotFound(f"{server.url} has no model {model!r}: it has {listed}")
    return model
