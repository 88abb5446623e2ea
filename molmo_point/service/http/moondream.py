"""Moondream's request shapes, so that its client runs against this server: point, query, caption."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse

from molmo_point.defaults import MAX_TOKENS
from molmo_point.errors import PointError, ServiceError, TimedOut, UsageError
from molmo_point.points import FinishReason, Status
from molmo_point.service.http import openapi as docs
from molmo_point.service.http.bodies import check, dumps, read_json
from molmo_point.service.http.body_images import image_bytes
from molmo_point.service.http.errors import STREAM_HEADERS, as_json
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.submit import HttpSubmitter, after_first_reply
from molmo_point.wire import Op, Reply, error_body
from molmo_point.wording import counted

CAPTIONS = {
    "short": "Describe this image in one sentence.",
    "normal": "Describe this image.",
    "long": "Describe this image in detail.",
}


class MoondreamSettings(BaseModel):
    """Moondream's other settings (temperature, top_p, variant) change nothing: decoding is greedy.

    Attributes:
        max_objects: Most points, the first of the answer.
        max_tokens: Longest text.
    """

    max_objects: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def limit(self) -> dict[str, int]:
        """The field of a request that limits a text."""
        return {} if self.max_tokens is None else {"max_tokens": min(self.max_tokens, MAX_TOKENS)}


class _MoondreamBody(BaseModel):
    """Moondream's other fields, the model's name among them, are accepted and change nothing.

    `spatial_refs` would change the question: they are refused.
    """

    model_config = ConfigDict(extra="ignore")

    image_url: str
    stream: bool = False
    settings: MoondreamSettings = MoondreamSettings()
    spatial_refs: list[Any] | None = Field(default=None, max_length=64)


class MoondreamPointBody(_MoondreamBody):
    """What Moondream's client sends to /v1/point."""

    object: str


class MoondreamQueryBody(_MoondreamBody):
    """What Moondream's client sends to /v1/query."""

    question: str


class MoondreamCaptionBody(_MoondreamBody):
    """What Moondream's client sends to /v1/caption."""

    length: Literal["short", "normal", "long"] = "normal"


class Moondream:
    """Answers in Moondream's shapes."""

    def __init__(self, submitter: HttpSubmitter, fetcher: Fetcher) -> None:
        self._submitter = submitter
        self._fetcher = fetcher

    async def point(self, http: HttpRequest, fields: dict[str, Any]) -> Response:
        """Answer {"points": [{"x", "y"}]}; an answer that is cut or cannot be read is an error: its client shows only points."""
        body = check(MoondreamPointBody, fields)
        data = await self._image_payload(http, body)
        reply = await self._submitter.answer(http, Op.POINT, data, query=body.object)
        pointing = reply.pointing
        if pointing is None or pointing.status is Status.MALFORMED:
            raise ServiceError("the model's answer could not be read as points")
        most = body.settings.max_objects
        enough = most is not None and pointing.count >= most
        if pointing.status not in (Status.FOUND, Status.NOT_FOUND) and not enough:
            raise TimedOut(
                f'the answer was cut short after {counted(pointing.count, "point")}; POST /v1/point with "query" returns those'
            )
        points = [{"x": point.x, "y": point.y} for point in pointing.points[:most]]
        return JSONResponse(
            {"points": points, "status": str(pointing.status), "request_id": reply.id}
        )

    async def text(
        self, http: HttpRequest, body: _MoondreamBody, question: str, key: str
    ) -> Response:
        """Answer {key: text}, or in chunks."""
        data = await self._image_payload(http, body)
        limit = body.settings.limit
        if body.stream:
            replies = await after_first_reply(
                self._submitter.replies(http, Op.STREAM_TEXT, data, query=question, **limit)
            )
            return StreamingResponse(
                _chunks(replies), media_type="text/event-stream", headers=STREAM_HEADERS
            )
        reply = await self._submitter.answer(http, Op.ASK, data, query=question, **limit)
        return JSONResponse(
            {key: reply.text or "", "finish_reason": _reason(reply), "request_id": reply.id}
        )

    async def _image_payload(self, http: HttpRequest, body: _MoondreamBody) -> bytes:
        if body.spatial_refs:
            raise UsageError("spatial_refs are not supported: say in the query where to look")
        return await image_bytes(http, body.image_url, self._fetcher)


def _reason(reply: Reply) -> str:
    """Return why a text ended: stop, length or timeout."""
    return str(reply.finish_reason or FinishReason.STOP)


async def _chunks(replies: AsyncIterator[Reply]) -> AsyncIterator[str]:
    try:
        async for reply in replies:
            if reply.last:
                end = {
                    "completed": True,
                    "finish_reason": _reason(reply),
                    "request_id": reply.id,
                }
                yield f"data: {dumps(end)}\n\n"
            else:
                yield f"data: {dumps({'chunk': reply.text or ''})}\n\n"
    except PointError as error:
        yield f"data: {dumps({**as_json(error_body(error)), 'completed': True})}\n\n"


def moondream_router(submitter: HttpSubmitter, fetcher: Fetcher) -> APIRouter:
    """Return the routes that only Moondream has; /v1/point is shared with ours."""
    router = APIRouter(tags=["moondream"])
    moondream = Moondream(submitter, fetcher)

    @router.post("/v1/query", **docs.MOONDREAM_QUERY)
    async def query(http: HttpRequest) -> Response:
        body = check(MoondreamQueryBody, await read_json(http))
        return await moondream.text(http, body, body.question, "answer")

    @router.post("/v1/caption", **docs.MOONDREAM_CAPTION)
    async def caption(http: HttpRequest) -> Response:
        body = check(MoondreamCaptionBody, await read_json(http))
        return await moondream.text(http, body, CAPTIONS[body.length], "caption")

    @router.post("/v1/detect", include_in_schema=False)
    @router.post("/v1/segment", include_in_schema=False)
    async def refuse(http: HttpRequest) -> Response:
        raise UsageError(
            f"{http.url.path} is not supported: this model gives points, no boxes and masks; use /v1/point"
        )

    return router
