"""OpenAI's chat completions, so that its clients run against this server: one image, one question, text back.

What Molmo has no place for is refused (several images, tools, several choices, formats) or without effect (system messages,
earlier turns, temperature: decoding is greedy).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse

from molmo_point.errors import Busy, ModelNotFound, PointError, UsageError
from molmo_point.points import FinishReason
from molmo_point.service.http import openapi as docs
from molmo_point.service.http.bodies import check, dumps, image_bytes, read_json
from molmo_point.service.http.errors import STREAM_HEADERS, as_json
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.openai_bodies import ChatBody, check_fields, question_of
from molmo_point.service.http.submit import HttpSubmitter, after_first_reply
from molmo_point.wire import Op, Reply, error_body


def openai_router(submitter: HttpSubmitter, fetcher: Fetcher) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["openai"])
    began = int(time.time())

    def entry(name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": began, "owned_by": "molmo-point"}

    @router.get("/v1/models", **docs.MODELS)
    async def models() -> dict[str, object]:
        name = submitter.dispatcher.worker.model
        return {"object": "list", "data": [entry(name)] if name else []}

    @router.get("/v1/models/{name:path}", **docs.ONE_OF_MODELS)
    async def model(name: str) -> dict[str, object]:
        _check_model(name, submitter.dispatcher.worker.model)
        return entry(name)

    @router.post("/v1/chat/completions", **docs.CHAT)
    async def chat(http: HttpRequest) -> Response:
        body = check(ChatBody, await read_json(http))
        _check_model(body.model, submitter.dispatcher.worker.model)
        check_fields(body)
        question, url = question_of(body)
        if url is None and not submitter.dispatcher.worker.takes_text:
            raise UsageError("expected an image: a part of type 'image_url' with a data: URL")
        data = await image_bytes(http, url, fetcher) if url is not None else None
        name = f"chatcmpl-{secrets.token_hex(12)}"
        if body.stream:
            replies = await after_first_reply(
                submitter.replies(http, Op.STREAM_TEXT, data, query=question)
            )
            return StreamingResponse(
                _chunks(submitter, replies, name),
                media_type="text/event-stream",
                headers=STREAM_HEADERS,
            )
        reply = await submitter.answer(http, Op.ASK, data, query=question)
        message = {"role": "assistant", "content": reply.text or ""}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": _reason(reply),
            "logprobs": None,
        }
        return JSONResponse(_completion(submitter, name, "chat.completion", choice))

    return router


def _reason(reply: Reply) -> str:
    """Return why a text ended, in OpenAI's words: what a deadline cut has no word of its own there."""
    return "stop" if reply.finish_reason in (None, FinishReason.STOP) else "length"


def _check_model(asked: str, have: str) -> None:
    if not have:
        raise Busy("the model is still loading")
    if asked != have:
        raise ModelNotFound(f"there is no model {asked[:80]!r} here, there is {have!r}")


def _completion(
    submitter: HttpSubmitter, name: str, kind: str, choice: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": name,
        "object": kind,
        "created": int(time.time()),
        "model": submitter.dispatcher.worker.model,
        "choices": [choice],
    }


async def _chunks(
    submitter: HttpSubmitter, replies: AsyncIterator[Reply], name: str
) -> AsyncIterator[str]:
    def chunk(delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return f"data: {dumps(_completion(submitter, name, 'chat.completion.chunk', choice))}\n\n"

    try:
        yield chunk({"role": "assistant", "content": ""})
        async for reply in replies:
            if reply.last:
                yield chunk({}, _reason(reply))
            else:
                yield chunk({"content": reply.text or ""})
    except PointError as error:
        yield f"data: {dumps(as_json(error_body(error)))}\n\n"
    yield "data: [DONE]\n\n"
