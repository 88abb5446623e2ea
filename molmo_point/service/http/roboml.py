"""RoboML's routes, so that EmbodiedAgents' HTTP client runs against this server: points in pixels, or text.

There is one model: nodes are neither made nor removed, and every name means it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from molmo_point.defaults import MAX_TOKENS
from molmo_point.errors import Busy, ServiceError, TimedOut, UsageError
from molmo_point.points import Status
from molmo_point.service.http.bodies import check, read_json
from molmo_point.service.http.body_images import image_bytes
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.openai_bodies import ChatBody, question_of
from molmo_point.service.http.submit import HttpSubmitter
from molmo_point.wire import Op
from molmo_point.wording import counted


class InferenceBody(BaseModel):
    """What EmbodiedAgents sends; its other fields (temperature and the like) change nothing.

    Attributes:
        query: The query, or chat messages, of which the last user message is the query.
        images: The image in base64.
        task: pointing for points; general for text.
    """

    model_config = ConfigDict(extra="ignore")

    query: Union[str, list[dict[str, Any]]]
    images: list[str] = Field(default=[], max_length=16)
    task: Literal["pointing", "general"] = "general"
    stream: bool = False
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def text(self) -> str:
        """The query itself."""
        if isinstance(self.query, str):
            return self.query
        return question_of(check(ChatBody, {"model": "-", "messages": self.query}))[0]


def roboml_router(submitter: HttpSubmitter, fetcher: Fetcher) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["roboml"], include_in_schema=False)

    @router.post("/add_node")
    @router.post("/remove_node")
    async def node() -> dict[str, str]:
        return {"message": "there is one model, and it stays"}

    @router.post("/{model}/initialize")
    async def initialize(model: str) -> dict[str, str]:
        ready, state = submitter.dispatcher.worker.state()
        if not ready:
            raise Busy(f"the model is not ready: {state}")
        return {"status": "READY", "model": submitter.dispatcher.worker.model}

    @router.post("/{model}/inference")
    async def inference(http: HttpRequest, model: str) -> Response:
        body = check(InferenceBody, await read_json(http))
        if len(body.images) != 1:
            raise UsageError(f"images: expected one image, got {len(body.images)}")
        if body.stream:
            raise UsageError("stream: answers are not streamed here; leave it out")
        data = await image_bytes(http, body.images[0], fetcher)
        if body.task == "pointing":
            return JSONResponse({"output": await _pixels(submitter, http, data, body.text)})
        limit = body.max_new_tokens
        fields = {} if limit is None else {"max_tokens": min(limit, MAX_TOKENS)}
        reply = await submitter.answer(http, Op.ASK, data, query=body.text, **fields)
        return JSONResponse({"output": reply.text or ""})

    return router


async def _pixels(
    submitter: HttpSubmitter, http: HttpRequest, data: bytes, query: str
) -> list[list[float]]:
    """Return the points in pixels of the image; an empty list means that nothing is there."""
    pointing = (await submitter.answer(http, Op.POINT, data, query=query)).pointing
    if pointing is None or pointing.status is Status.MALFORMED:
        raise ServiceError("the model's answer could not be read as points")
    if pointing.status is Status.TRUNCATED:
        raise TimedOut(f"the answer was cut short after {counted(pointing.count, 'point')}")
    return [[round(value, 2) for value in pixel] for pixel in pointing.pixels()]
