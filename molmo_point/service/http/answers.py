"""Answers over HTTP: one JSON object, or server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel, computed_field
from starlette.responses import Response, StreamingResponse

from molmo_point.errors import PointError, ServiceError
from molmo_point.points import FinishReason, Pointing, Timing
from molmo_point.service.http.bodies import dumps
from molmo_point.service.http.errors import STREAM_HEADERS, as_json
from molmo_point.wire import Reply, encode_reply, error_body


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
    timing: Timing | None = None
    """Numbers of tokens, where the model knows them."""


def answered(reply: Reply, model: str) -> Response:
    """Return the response that holds one answer."""
    if reply.pointing is not None:
        return Response(_pointing(reply.pointing), media_type="application/json")
    text = TextOut(
        text=reply.text or "",
        model=model,
        finish_reason=reply.finish_reason or FinishReason.STOP,
        timing=reply.timing,
    )
    # As on the wire, the reason is left out where it is the usual one.
    return Response(text.model_dump_json(exclude_defaults=True), media_type="application/json")


async def answered_each(replies: AsyncIterator[Reply]) -> Response:
    """Return {"answers": [...]}: for each of several queries its answer, or {"error": ...}, in their order."""
    answers = [_one_of_several(reply) async for reply in replies if not reply.last]
    return Response('{"answers":[' + ",".join(answers) + "]}", media_type="application/json")


def _one_of_several(reply: Reply) -> str:
    if reply.error is not None:
        return dumps(as_json(reply.error))
    if reply.pointing is None:
        raise ServiceError(f"expected the answer to a query, got {reply.type}")
    return _pointing(reply.pointing)


def _pointing(pointing: Pointing) -> str:
    # Checked when it was made: not once more.
    fields: dict[str, Any] = dict(pointing)
    return PointingOut.model_construct(**fields).model_dump_json()


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
