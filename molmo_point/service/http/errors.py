"""Refusals over HTTP: one body for everybody, with the fields that OpenAI's clients look for, and our own."""

from __future__ import annotations

import json

from starlette.responses import Response

from molmo_point.errors import PointError
from molmo_point.wire import ErrorBody, error_body

STATUS = {
    "busy": 503,
    "cancelled": 409,
    "model_failed": 503,
    "model_not_found": 404,
    "nothing_there": 422,
    "refused": 403,
    "server_gone": 502,
    "service": 500,
    "superseded": 409,
    "timed_out": 408,
    "unknown_request": 503,
    "view_gone": 404,
}
"""HTTP status of each kind of error; kinds that are not here are the caller's mistakes: 400."""


STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Of server-sent events: no proxy is to keep them, nor to collect them before it passes them on."""


def as_json(body: ErrorBody, status: int | None = None) -> dict[str, object]:
    """Return the JSON object of a refusal."""
    status = status or STATUS.get(body.kind, 400)
    return {
        "error": {
            "kind": body.kind,
            "message": body.message,
            "advice": body.advice,
            "type": "server_error" if status >= 500 else "invalid_request_error",
            "code": body.kind,
            "param": None,
        }
    }


def error_response(error: PointError, status: int | None = None) -> Response:
    """Return the response that says `error`."""
    return body_response(error_body(error), status)


def body_response(body: ErrorBody, status: int | None = None) -> Response:
    """Return the response with that error body."""
    status = status or STATUS.get(body.kind, 400)
    headers = {"Retry-After": "1"} if status == 503 else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        json.dumps(as_json(body, status)), status, headers, media_type="application/json"
    )
