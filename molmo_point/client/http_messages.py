"""Requests and replies as HTTP carries them: JSON or multipart bodies, JSON objects, server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from molmo_point.client.http_session import httpx
from molmo_point.errors import ServiceError
from molmo_point.wire import (
    ENVELOPE,
    ErrorBody,
    Op,
    Payload,
    Reply,
    Request,
    ServerInfo,
    ViewInfo,
    WireError,
    decode_reply,
    error_from,
    first_problem,
    validate_lenient,
)


def body_of(request: Request, image_payload: Payload | None) -> dict[str, Any]:
    """Return the arguments for httpx that carry a request: `json`, or `data` and `files` where an image goes along."""
    fields: dict[str, Any] = request.model_dump(exclude=set(ENVELOPE), exclude_none=True)
    if request.op is Op.OPEN:
        fields = {} if request.detail is None else {"detail": request.detail}
    if request.queries:
        del fields["query"]
        fields["queries"] = list(request.queries)
    if streams(request):
        fields["stream"] = True
    if image_payload is None:
        return {"json": fields}
    if request.times_s:
        fields["times_s"] = list(request.times_s)
    form = {name: json.dumps(v) if not isinstance(v, str) else v for name, v in fields.items()}
    files = [
        ("image", (f"image.{kind}", bytes(part.data), f"image/{kind}"))
        for part in image_payload.parts
        for kind in (part.header.encoding,)
    ]
    return {"data": form, "files": files}


def streams(request: Request) -> bool:
    """Whether the answer comes as server-sent events."""
    return request.op in (Op.STREAM, Op.STREAM_TEXT) or bool(request.queries)


def object_in(url: str, response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of a response; raise what a refusal stands for."""
    if response.is_redirect:
        raise ServiceError(
            f"{url} has moved to {response.headers.get('location', 'elsewhere')}: connect to that address"
        )
    try:
        value = response.json()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ServiceError(
            f"{url} answered {response.status_code} without JSON: is it a molmo-point server?"
        )
    if response.is_error:
        try:
            body = ErrorBody.model_validate(value.get("error"))
        except ValidationError:
            raise ServiceError(
                f"{url} answered {response.status_code}: is it a molmo-point server?"
            ) from None
        raise error_from(body)
    return value


def server_in(url: str, value: dict[str, Any]) -> ServerInfo:
    """Return what a server says about itself."""
    try:
        return ServerInfo.model_validate(value)
    except ValidationError as error:
        raise ServiceError(
            f"{url} is no molmo-point server, or one of another version ({first_problem(error)})"
        ) from None


def reply_in(request: Request, value: dict[str, Any]) -> Reply:
    """Return the reply that the JSON answer to a request stands for."""
    try:
        if request.op is Op.OPEN:
            view = ViewInfo.model_validate(value)
            return Reply(id=request.id, type="view", view=view)
        if request.op is Op.ASK:
            fields = {name: value.get(name) for name in ("finish_reason", "timing")}
            text = str(value.get("text", ""))
            return validate_lenient(
                Reply, {"id": request.id, "type": "text", "text": text, **fields}
            )
        # "count" and what a newer server adds are left out.
        return validate_lenient(Reply, {"id": request.id, "type": "pointing", "pointing": value})
    except ValidationError as error:
        raise ServiceError(
            f"the server answered with something else: {first_problem(error)}"
        ) from None


def replies_in(response: httpx.Response) -> Iterator[Reply]:
    """Yield the replies of a stream of server-sent events."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            try:
                reply = decode_reply([line[6:].encode()])
            except WireError as error:
                raise ServiceError(f"the server answered with something else: {error}") from error
            if reply.error is not None and reply.last:
                raise error_from(reply.error)
            yield reply
