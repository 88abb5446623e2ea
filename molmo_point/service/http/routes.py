"""Our own endpoints: point, count, ask, opened images, and what the server says about itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from molmo_point.capabilities import Capabilities, capabilities_of, unknown_note
from molmo_point.defaults import MAX_QUERY_CHARACTERS
from molmo_point.errors import UsageError
from molmo_point.service.http import openapi as docs
from molmo_point.service.http.answers import (
    PointingOut,
    TextOut,
    answered,
    answered_each,
    event_stream,
)
from molmo_point.service.http.bodies import (
    ImagesBody,
    QueriesBody,
    QuestionBody,
    ViewBody,
    check,
    content_type,
    read_form,
    read_json,
)
from molmo_point.service.http.body_images import brought_images
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.moondream import Moondream
from molmo_point.service.http.submit import HttpCaller, HttpSubmitter, after_first_reply
from molmo_point.wire import Buffer, Op, ServerInfo, ViewInfo


class ModelOut(Capabilities):
    """What the model can be asked.

    Attributes:
        model: Its name, "" until it is loaded.
        note: What is to be known about the query that was sent along, "" for nothing.
    """

    model: str
    note: str = ""


class Done(BaseModel):
    """Nothing but that it is done."""

    done: bool = True


class DirectRoute(APIRoute):
    """A route whose endpoint takes the bare request and makes the response: nothing is resolved for it, which takes 0.1 ms."""

    def get_route_handler(self) -> Callable[[HttpRequest], Coroutine[Any, Any, Response]]:
        """Return the endpoint itself."""
        return self.endpoint


def points_router(submitter: HttpSubmitter, fetcher: Fetcher) -> APIRouter:
    """Return the routes; those of questions first, since routes are compared in their order."""
    router = APIRouter(tags=["points"])
    router.routes[:] = _question_routes(submitter, fetcher).routes
    _add_requests(router, submitter, fetcher)
    _add_descriptions(router, submitter)
    return router


def _question_routes(submitter: HttpSubmitter, fetcher: Fetcher) -> APIRouter:
    questions = APIRouter(tags=["points"], route_class=DirectRoute)
    max_bytes = submitter.dispatcher.settings.max_message_bytes
    moondream = Moondream(submitter, fetcher)

    async def question(
        http: HttpRequest, op: Op, stream_op: Op, sent: dict[str, Any], files: list[Buffer]
    ) -> Response:
        body = _body(sent)
        data = await brought_images(
            http, body, files, fetcher, max_bytes=max_bytes, timeout_s=body.timeout_s
        )
        fields = body.model_dump(exclude=_BROUGHT, exclude_none=True)
        if isinstance(body, QueriesBody):
            if op is Op.ASK:
                raise UsageError("expected one query: /v1/point and /v1/count take several")
            replies = submitter.replies(http, op, data, **fields)
            if body.stream:
                return event_stream(await after_first_reply(replies))
            return await answered_each(replies)
        if body.stream:
            return event_stream(
                await after_first_reply(submitter.replies(http, stream_op, data, **fields))
            )
        reply = await submitter.answer(http, op, data, **fields)
        return answered(reply, submitter.dispatcher.worker.model)

    @questions.post("/v1/point", response_model=PointingOut, **docs.POINT)
    async def point(http: HttpRequest) -> Response:
        sent, files = await _fields(http)
        if not files and "object" in sent:
            return await moondream.point(http, sent)
        return await question(http, Op.POINT, Op.STREAM, sent, files)

    @questions.post("/v1/count", response_model=PointingOut, **docs.COUNT)
    async def count(http: HttpRequest) -> Response:
        return await question(http, Op.COUNT, Op.COUNT, *await _fields(http))

    @questions.post("/v1/ask", response_model=TextOut, **docs.ASK)
    async def ask(http: HttpRequest) -> Response:
        return await question(http, Op.ASK, Op.STREAM_TEXT, *await _fields(http))

    return questions


def _add_requests(router: APIRouter, submitter: HttpSubmitter, fetcher: Fetcher) -> None:
    """Add opened views and the end of a request."""
    max_bytes = submitter.dispatcher.settings.max_message_bytes

    @router.post("/v1/views", response_model=ViewInfo, **docs.OPEN)
    async def open_view(http: HttpRequest) -> Any:
        sent, files = await _fields(http)
        body = check(ViewBody, sent)
        data = await brought_images(http, body, files, fetcher, max_bytes=max_bytes)
        if data is None:
            raise UsageError('expected "image", or several as "images", and nothing else')
        fields = body.model_dump(include={"detail"}, exclude_none=True)
        return (await submitter.answer(http, Op.OPEN, data, **fields)).view

    @router.delete("/v1/views/{handle}", response_model=Done, **docs.CLOSE)
    async def close_view(http: HttpRequest, handle: docs.Handle) -> Done:
        await submitter.answer(http, Op.CLOSE, None, view=handle)
        return Done()

    @router.delete("/v1/requests/{name}", response_model=Done, **docs.CANCEL)
    async def cancel(http: HttpRequest, name: docs.RequestId) -> Done:
        caller = HttpCaller.of(http)
        if http.headers.get("x-client-id") is None:
            raise UsageError("expected the X-Client-Id with which the request was sent")
        submitter.dispatcher.cancel(caller.name, name)
        return Done()


def _add_descriptions(router: APIRouter, submitter: HttpSubmitter) -> None:
    """Add what the model and the server can do."""

    @router.get("/v1/model", response_model=ModelOut, **docs.MODEL)
    async def model(
        query: Annotated[str, Query(max_length=MAX_QUERY_CHARACTERS)] = "",
    ) -> ModelOut:
        name = submitter.dispatcher.worker.model
        fields = capabilities_of(name).model_dump()
        return ModelOut(model=name, note=unknown_note(name, query), **fields)

    @router.get("/v1/server", response_model=ServerInfo, **docs.SERVER)
    async def server() -> ServerInfo:
        return submitter.dispatcher.info()


_BROUGHT = {*ImagesBody.model_fields, "stream"}
"""Fields of a question's body that the wire says in other ways."""


async def _fields(http: HttpRequest) -> tuple[dict[str, Any], list[Buffer]]:
    """Return the fields of a JSON body; or those of a multipart body and its images.

    Raises:
        UsageError: It is neither.
    """
    kind = content_type(http)
    if kind == "application/json":
        return await read_json(http), []
    if kind != "multipart/form-data":
        raise UsageError(
            f"expected Content-Type application/json or multipart/form-data, got {kind[:80] or 'none'}"
        )
    return read_form(http)


def _body(sent: dict[str, Any]) -> QuestionBody | QueriesBody:
    if "queries" not in sent:
        return check(QuestionBody, sent)
    if "query" in sent or "view" in sent:
        raise UsageError("queries take the place of query, and bring an image: no query or view")
    return check(QueriesBody, sent)
