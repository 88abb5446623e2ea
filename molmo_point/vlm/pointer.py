"""`OpenAIPointer`: a model behind any server with OpenAI's chat completions (vLLM, SGLang, llama.cpp, LM Studio, Ollama)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from molmo_point.client.address import http_address
from molmo_point.client.many import ask_many, count_tiles
from molmo_point.defaults import CALL_TIMEOUT_S, CONNECT_TIMEOUT_S, OPENAI
from molmo_point.errors import ModelNotFound, UsageError
from molmo_point.image_like import ImageLike
from molmo_point.pointer import Tiles
from molmo_point.points import Pointing
from molmo_point.vlm.chat import ChatServer, image_part
from molmo_point.vlm.formats import PointFormat, format_for
from molmo_point.vlm.images import Encoding, SentImage, encode_image
from molmo_point.vlm.reply import Exchange
from molmo_point.vlm.vision_language import VisionLanguagePointer


@dataclass(frozen=True)
class SentQuestion:
    """An encoded image and a prompt."""

    image: SentImage
    prompt: str

    @property
    def size(self) -> tuple[int, int]:
        """As `Question.size`."""
        return self.image.size

    @property
    def sent_size(self) -> tuple[int, int]:
        """As `Question.sent_size`."""
        return self.image.sent_size


class OpenAIPointer(VisionLanguagePointer[SentQuestion]):
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
        logprobs: Ask for log-probabilities, which become scores. A server that refuses them by name is asked without.

    Raises:
        UsageError: Not such an address, or it is not known how that model writes points.
        ModelNotFound: The server has no such model, or several and none is named.
        ServerGone, Refused, ServiceError: No such server answers.
    """

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
        self._max_tokens = max_tokens
        self._images: Encoding = images
        self._call_timeout_s = timeout_s
        # What an answer can do without, until the server refuses it.
        self._extra: dict[str, Any] = {"stream_options": {"include_usage": True}}
        if logprobs:
            self._extra["logprobs"] = True
        name = _named(model, self._server, connect_timeout_s)
        super().__init__(name, format_for(name, markup), timeout_s)

    def point_many(
        self, requests: Iterable[tuple[ImageLike, str]], *, timeout_s: float | None = None
    ) -> list[Pointing]:
        return ask_many(self.point, requests, self._limit_s(timeout_s))

    def close(self) -> None:
        self._server.close()

    def _count_in_tiles(
        self, image: ImageLike, query: str, tiles: Tiles, timeout_s: float | None
    ) -> Pointing:
        return count_tiles(self.count, image, query, tiles, self._limit_s(timeout_s))

    def _question(self, image: ImageLike, prompt: str, form: PointFormat | None) -> SentQuestion:
        resized = None if form is None else form.sent_size
        return SentQuestion(encode_image(image, self._images, resized), prompt)

    def _exchange(
        self, question: SentQuestion, timeout_s: float | None, *, scored: bool
    ) -> Exchange:
        """As `VisionLanguagePointer._exchange`; options that the server refuses by name are left out from then on."""
        while True:
            extra = dict(self._extra)
            if not scored:
                extra.pop("logprobs", None)
            try:
                return (yield from self._complete(question, timeout_s, extra))
            except UsageError as error:
                refused = [name for name in extra if name in str(error)]
                if not refused:
                    raise
                for name in refused:
                    self._extra.pop(name, None)

    def _complete(
        self, question: SentQuestion, timeout_s: float | None, extra: Mapping[str, Any]
    ) -> Exchange:
        image = image_part(question.image.data, question.image.encoding)
        content = [image, {"type": "text", "text": question.prompt}]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0.0,
            "max_tokens": self._max_tokens,
            "stream": True,
            **extra,
        }
        return self._server.complete(body, self._limit_s(timeout_s))

    def _limit_s(self, timeout_s: float | None) -> float:
        limit_s = self._budget(timeout_s)
        return self._call_timeout_s if limit_s is None else limit_s


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
