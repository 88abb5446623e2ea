"""Our own endpoints: point, count, ask, opened images, and what the server says about itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, computed_field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from molmo_point.capabilities import Capabilities, capabilities_of, unknown_note
from molmo_point.defaults import MAX_QUERY_CHARACTERS
from molmo_point.errors import PointError, UsageError
from molmo_point.points import FinishReason, Pointing
from molmo_point.service.http import openapi as docs
from molmo_point.service.http.bodies import (
    QuestionBody,
    ViewBody,
    check,
    content_type,
    image_bytes,
    read_form,
    read_json,
)
from molmo_point.service.http.errors import STREAM_HEADERS
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.moondream import Moondream
from molmo_point.service.http.submit import HttpCaller, HttpSubmitter, after_first_reply
from molmo_point.wire import Buffer, Op, Reply, ServerInfo, ViewInfo, encode_reply, error_body


class PointingOut(Pointing):
    """A `Pointing` with the number of its points spelt out."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def count(self) -> int:
        """How many points there are: the count to trust."""
        return len(self.points)


class TextOut(BaseModel):
    """An answer in text."""

    text: str
    model: str
    finish_reason: FinishReason = FinishReason.STOP
    """stop: whole; length, timeout: cut short there."""


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
    moondream = Moondream(submitter, fetcher)

    async def question(
        http: HttpRequest, op: Op, stream_op: Op, sent: dict[str, Any] | None
    ) -> Response:
        body, data = await _question(http, sent, fetcher)
        fields = body.model_dump(exclude={"image", "stream"}, exclude_none=True)
        if body.stream:
            return event_stream(
                await after_first_reply(submitter.replies(http, stream_op, data, **fields))
            )
        reply = await submitter.answer(http, op, data, **fields)
        return _answered(reply, submitter.dispatcher.worker.model)

    @questions.post("/v1/point", response_model=PointingOut, **docs.POINT)
    async def point(http: HttpRequest) -> Response:
        sent = await _json_fields(http)
        if sent is not None and "object" in sent:
            return await moondream.point(http, sent)
        return await question(http, Op.POINT, Op.STREAM, sent)

    @questions.post("/v1/count", response_model=PointingOut, **docs.COUNT)
    async def count(http: HttpRequest) -> Response:
        return await question(http, Op.COUNT, Op.COUNT, await _json_fields(http))

    @questions.post("/v1/ask", response_model=TextOut, **docs.ASK)
    async def ask(http: HttpRequest) -> Response:
        return await question(http, Op.ASK, Op.STREAM_TEXT, await _json_fields(http))

    return questions


def _add_requests(router: APIRouter, submitter: HttpSubmitter, fetcher: Fetcher) -> None:
    """Add opened views and the end of a request."""

    @router.post("/v1/views", response_model=ViewInfo, **docs.OPEN)
    async def open_view(http: HttpRequest) -> Any:
        sent = await _json_fields(http)
        if sent is not None:
            body = check(ViewBody, sent)
            data: Buffer = await image_bytes(http, body.image, fetcher)
        else:
            data = _form_image(http)
        return (await submitter.answer(http, Op.OPEN, data)).view

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


def _answered(reply: Reply, model: str) -> Response:
    if reply.pointing is not None:
        # Checked when it was made: not once more.
        out = PointingOut.model_construct(**dict(reply.pointing))
        return Response(out.model_dump_json(), media_type="application/json")
    text = TextOut(
        text=reply.text or "", model=model, finish_reason=reply.finish_reason or FinishReason.STOP
    )
    # As on the wire, the reason is left out where it is the usual one.
    return Response(text.model_dump_json(exclude_defaults=True), media_type="application/json")


async def _json_fields(http: HttpRequest) -> dict[str, Any] | None:
    """Return the fields of a JSON body, or None where the body is multipart.

    Raises:
        UsageError: It is neither.
    """
    kind = content_type(http)
    if kind == "application/json":
        return await read_json(http)
    if kind == "multipart/form-data":
        return None
    raise UsageError(
        f"expected Content-Type application/json or multipart/form-data, got {kind[:80] or 'none'}"
    )


async def _question(
    http: HttpRequest, sent: dict[str, Any] | None, fetcher: Fetcher
) -> tuple[QuestionBody, Buffer | None]:
    if sent is not None:
        body = check(QuestionBody, sent)
        if body.image is None:
            return body, None
        return body, await image_bytes(http, body.image, fetcher, body.timeout_s)
    fields, data = read_form(http)
    if "image" in fields:
        raise UsageError('"image" must be a file in a multipart body')
    return check(QuestionBody, fields), data


def _form_image(http: HttpRequest) -> Buffer:
    fields, data = read_form(http)
    if data is None or fields:
        raise UsageError('expected one file called "image" and nothing else')
    return data


def event_stream(replies: AsyncIterator[Reply]) -> StreamingResponse:
    """Return replies as server-sent events: the event is the reply's type, the data the whole reply as on the wire."""

    async def events() -> AsyncIterator[bytes]:
        try:
            async for reply in replies:
                yield _event(reply)
        except PointError as error:
            # The response has begun: from here on a refusal can only be an event.
            yield _event(Reply(id="", type="error", error=error_body(error)))

    return StreamingResponse(events(), media_type="text/event-stream", headers=STREAM_HEADERS)


def _event(reply: Reply) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (reply.type.encode(), encode_reply(reply))
