"""OpenAI's chat completions, so that its clients run against this server: one image, one question, text back.

What Molmo has no place for is refused (several images, tools, several choices, formats) or without effect (system messages,
earlier turns, temperature: decoding is greedy). A dialect behind the model's name has the answer written as points in another
shape.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse

from molmo_point.errors import UsageError
from molmo_point.points import FinishReason
from molmo_point.service.http import openapi as docs
from molmo_point.service.http.bodies import check, read_json
from molmo_point.service.http.body_images import image_bytes
from molmo_point.service.http.chat import Chat
from molmo_point.service.http.dialects import Dialect, Prompt
from molmo_point.service.http.errors import STREAM_HEADERS
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.model_names import ModelNames
from molmo_point.service.http.openai_bodies import (
    ChatBody,
    check_fields,
    detail_of,
    question_of,
    system_of,
)
from molmo_point.service.http.submit import HttpSubmitter, after_first_reply
from molmo_point.wire import Buffer, Op, Reply


def openai_router(submitter: HttpSubmitter, fetcher: Fetcher, names: ModelNames) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["openai"])
    began = int(time.time())
    worker = submitter.dispatcher.worker

    def entry(name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": began, "owned_by": "molmo-point"}

    @router.get("/v1/models", **docs.MODELS)
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [entry(name) for name in names.listed(worker.model)]}

    @router.get("/v1/models/{name:path}", **docs.ONE_OF_MODELS)
    async def model(name: str) -> dict[str, object]:
        replace(names, strict=True).dialect_of(name, worker.model)
        return entry(name)

    @router.post("/v1/chat/completions", **docs.CHAT)
    async def chat(http: HttpRequest) -> Response:
        body = check(ChatBody, await read_json(http))
        dialect = names.dialect_of(body.model, worker.model)
        check_fields(body, dialect)
        question, url = question_of(body)
        if url is None and (dialect is not None or not worker.takes_text):
            raise UsageError("expected an image: a part of type 'image_url' with a data: URL")
        data = await image_bytes(http, url, fetcher) if url is not None else None
        answer = Chat(body.model, counts_usage=body.counts_usage)
        if dialect is not None:
            prompt = Prompt(system_of(body), question)
            replies = _in_dialect(submitter, http, data, dialect, prompt, **_finely(body))
        else:
            op = Op.STREAM_TEXT if body.stream else Op.ASK
            limits = {**_limited(body), **_finely(body)}
            replies = submitter.replies(http, op, data, query=question, **limits)
        if body.stream:
            return StreamingResponse(
                answer.chunks(await after_first_reply(replies)),
                media_type="text/event-stream",
                headers=STREAM_HEADERS,
            )
        *_, last = [reply async for reply in replies]
        return JSONResponse(answer.whole(last))

    return router


def _limited(body: ChatBody) -> dict[str, Any]:
    return {} if body.longest is None else {"max_tokens": body.longest}


def _finely(body: ChatBody) -> dict[str, Any]:
    detail = detail_of(body)
    return {} if detail is None else {"detail": detail}


async def _in_dialect(
    submitter: HttpSubmitter,
    http: HttpRequest,
    data: Buffer | None,
    dialect: Dialect,
    prompt: Prompt,
    **fields: Any,
) -> AsyncIterator[Reply]:
    """Point to the query of a prompt, and yield the answer as one piece of text and as the whole text.

    A limit of tokens does not hold here: it is meant for the dialect's few tokens, not for the model's markup.
    """
    reply = await submitter.answer(http, Op.POINT, data, query=dialect.query(prompt), **fields)
    assert reply.pointing is not None
    text = dialect.answer(prompt, reply.pointing)
    yield Reply(id=reply.id, seq=0, last=False, type="piece", text=text)
    yield Reply(
        id=reply.id,
        seq=1,
        type="text",
        text=text,
        finish_reason=FinishReason.STOP,
        timing=reply.pointing.timing,
    )
