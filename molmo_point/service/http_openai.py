"""OpenAI's chat completions, so that its clients run against this server: one picture, one question, text back.

What Molmo has no place for is refused (several pictures, tools, several choices) or without effect (system messages, earlier
turns, temperature: decoding is greedy).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Literal, Union

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse

from molmo_point.errors import Busy, ModelNotFound, PointError, UsageError
from molmo_point.service import http_docs as docs
from molmo_point.service.fetch import Fetcher
from molmo_point.service.http_asking import Asking, primed
from molmo_point.service.http_bodies import check, dumps, picture_bytes, read_json
from molmo_point.service.http_errors import as_json
from molmo_point.wire import Op, Reply, error_body


class _ImageUrl(BaseModel):
    url: str


class _Part(BaseModel):
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: _ImageUrl | None = None


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Union[str, list[_Part], None] = None


class ChatBody(BaseModel):
    """What OpenAI's client sends to /v1/chat/completions; unknown fields are without effect."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[_Message] = Field(min_length=1, max_length=1000)
    stream: bool | None = False
    n: int | None = 1
    tools: list[Any] | None = None


def openai_router(asking: Asking, fetcher: Fetcher) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["openai"])
    began = int(time.time())

    @router.get("/v1/models", **docs.MODELS)
    async def models() -> dict[str, object]:
        name = asking.desk.worker.model
        entry = {"id": name, "object": "model", "created": began, "owned_by": "molmo-point"}
        return {"object": "list", "data": [entry] if name else []}

    @router.post("/v1/chat/completions", **docs.CHAT)
    async def chat(http: HttpRequest) -> Response:
        body = check(ChatBody, await read_json(http))
        _check_model(body.model, asking.desk.worker.model)
        question, url = _question(body)
        data = await picture_bytes(url, fetcher)
        name = f"chatcmpl-{secrets.token_hex(12)}"
        if body.stream:
            replies = await primed(asking.replies(http, Op.STREAM_TEXT, data, query=question))
            return StreamingResponse(
                _chunks(asking, replies, name), media_type="text/event-stream"
            )
        reply = await asking.answer(http, Op.ASK, data, query=question)
        message = {"role": "assistant", "content": reply.text or ""}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return JSONResponse(_completion(asking, name, "chat.completion", choice))

    return router


def _check_model(asked: str, have: str) -> None:
    if not have:
        raise Busy("the model is still loading")
    if asked != have:
        raise ModelNotFound(f"there is no model {asked[:80]!r} here, there is {have!r}")


def _question(body: ChatBody) -> tuple[str, str]:
    """Return the text of the last user message and the newest picture's URL."""
    if body.tools or (body.n or 1) != 1:
        raise UsageError(
            "expected one choice and no tools: this model answers questions about a picture"
        )
    users = [message for message in body.messages if message.role == "user"]
    if not users:
        raise UsageError("expected a message of the role 'user'")
    last = users[-1].content
    parts = [last] if isinstance(last, str) else [part.text or "" for part in last or []]
    for message in reversed(users):
        urls = [] if not isinstance(message.content, list) else _urls(message.content)
        if len(urls) > 1:
            raise UsageError(f"expected one picture, got {len(urls)} in one message")
        if urls:
            return "\n".join(part for part in parts if part), urls[0]
    raise UsageError("expected a picture: a part of type 'image_url' with a data: URL")


def _urls(parts: list[_Part]) -> list[str]:
    return [part.image_url.url for part in parts if part.image_url is not None]


def _completion(asking: Asking, name: str, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "object": kind,
        "created": int(time.time()),
        "model": asking.desk.worker.model,
        "choices": [choice],
    }


async def _chunks(asking: Asking, replies: AsyncIterator[Reply], name: str) -> AsyncIterator[str]:
    def chunk(delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return f"data: {dumps(_completion(asking, name, 'chat.completion.chunk', choice))}\n\n"

    try:
        yield chunk({"role": "assistant", "content": ""})
        async for reply in replies:
            if not reply.last:
                yield chunk({"content": reply.text or ""})
        yield chunk({}, "stop")
    except PointError as error:
        yield f"data: {dumps(as_json(error_body(error)))}\n\n"
    yield "data: [DONE]\n\n"
