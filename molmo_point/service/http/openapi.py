"""What the OpenAPI page says about each endpoint: both kinds of bodies, examples, errors."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, Field

from molmo_point.service.http.bodies import ImagesBody, QueriesBody, QuestionBody

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGCAIAAABxZ0isAAAAEUlEQVR4nGNwiDLFihgGWgIAWnEnzWgHfyoAAAAASUVORK5CYII="
"""A PNG of 8x6 pixels, so that every example can be sent as it stands."""

Handle = Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,128}$", description="From POST /v1/views.")]

RequestId = Annotated[
    str, Path(pattern=r"^[\x21-\x7e]{1,128}$", description="The X-Request-Id of a request.")
]


class ErrorOut(BaseModel):
    """Why there is no answer: `kind` for programs, `message` and `advice` for people."""

    kind: str
    message: str
    advice: str
    type: str = Field(description="For OpenAI's clients: server_error or invalid_request_error.")
    code: str = Field(description="For OpenAI's clients: the same as kind.")
    param: str | None = None


class Refusal(BaseModel):
    """Every refusal has this body."""

    error: ErrorOut


_STATUSES = {
    400: "The request cannot be read.",
    401: "A token is needed.",
    403: "Not allowed.",
    404: "No such view, model or path.",
    405: "The path takes another method.",
    408: "The deadline passed, or the body took too long.",
    409: "A newer frame took this one's place, or the request was cancelled.",
    413: "Too large.",
    500: "The server failed; its log says why.",
    503: "Too busy, or still loading.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": Refusal, "description": text} for code, text in _STATUSES.items()
}

_HEADERS: list[dict[str, Any]] = [
    {
        "name": name,
        "in": "header",
        "required": False,
        "description": text,
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    }
    for name, text in (
        (
            "X-Request-Id",
            "With X-Client-Id: the same request under the same id is answered once and repeated from memory.",
        ),
        ("X-Client-Id", "A random name that a client keeps."),
    )
]


def _fields(model: type[BaseModel], *without: str) -> dict[str, Any]:
    """Return the JSON schema of a body's fields; one that may be null is described as one that may be left out."""
    described = model.model_json_schema()["properties"]
    fields = {}
    for name, field in described.items():
        kinds: list[dict[str, Any]] = field.get("anyOf", [])
        others = [kind for kind in kinds if kind.get("type") != "null"]
        kind = {"anyOf": others} if len(others) > 1 else next(iter(others), {})
        kept = {
            key: value for key, value in field.items() if key not in ("anyOf", "title", "default")
        }
        default = {"default": field["default"]} if field.get("default") is not None else {}
        fields[name] = {**kind, **kept, **default}
    return {name: field for name, field in fields.items() if name not in without}


_QUESTION_FIELDS = _fields(QuestionBody, *ImagesBody.model_fields)
_QUERIES_FIELDS = _fields(QueriesBody, *ImagesBody.model_fields)
_DETAIL = {"detail": _QUESTION_FIELDS["detail"]}
_IMAGE_TEXT = {"type": "string", "description": "base64, a data: URL, or an allowed http(s) URL"}
_IMAGE_FILE = {
    "type": "string",
    "format": "binary",
    "description": "JPEG, PNG, WebP, GIF, AVIF, BMP, TIFF or HEIC. Several files under this name are asked about "
    "together; with a field times_s, a JSON list of seconds, they are the frames of a video.",
}
_IMAGES = {
    "image": _IMAGE_TEXT,
    "images": {
        "type": "array",
        "items": _IMAGE_TEXT,
        "minItems": 1,
        "description": "In place of image: several, which are asked about together. Needs a model that takes several.",
    },
    "times_s": {
        "type": "array",
        "items": {"type": "number", "minimum": 0},
        "description": "Makes the images the frames of a video: a time in seconds for each, ascending.",
    },
}


def _object(fields: dict[str, Any], required: list[str], strict: bool = True) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": not strict,
    }


def _json(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": example}}


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"multipart/form-data": {"schema": schema}}


def _route(
    summary: str, content: dict[str, Any] | None = None, headers: bool = True
) -> dict[str, Any]:
    extra: dict[str, Any] = {"parameters": _HEADERS} if headers else {}
    if content is not None:
        extra["requestBody"] = {"required": True, "content": content}
    return {"summary": summary, "responses": RESPONSES, "openapi_extra": extra}


def _question(
    summary: str, query: str, *, several: bool = True, moondream: bool = False
) -> dict[str, Any]:
    bodies = [_object({**_IMAGES, **_QUESTION_FIELDS}, ["query"])]
    if several:
        bodies.append(_object({**_IMAGES, **_QUERIES_FIELDS}, ["queries"]))
    if moondream:
        bodies.append(_MOONDREAM_POINT)
    content = {
        **_json({"anyOf": bodies}, {"image": PIXEL, "query": query}),
        **_form(_object({"image": _IMAGE_FILE, **_QUESTION_FIELDS}, ["query"])),
    }
    route = _route(summary, content)
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    answer = {
        "description": 'The answer, or {"answers": [...]} to several queries; with `stream`, events with what is known so far.',
        "content": stream,
    }
    return {**route, "responses": {200: answer, **RESPONSES}}


_STREAM = {"type": "boolean", "default": False}
_MOONDREAM_POINT = _object(
    {"image_url": _IMAGE_TEXT, "object": {"type": "string", "minLength": 1}},
    ["image_url", "object"],
    strict=False,
)
POINT = _question("Point to every instance of something", "the red mug", moondream=True)
COUNT = _question("Count by pointing", "boats")
ASK = _question("Answer a question in text", "Describe this image.", several=False)
OPEN = _route(
    "Encode an image once, to ask about it many times",
    {
        **_json(_object({**_IMAGES, **_DETAIL}, []), {"image": PIXEL}),
        **_form(_object({"image": _IMAGE_FILE, **_DETAIL}, ["image"])),
    },
)
CLOSE = _route("Forget an opened image")
CANCEL = _route("Cancel a request; one that is answered or unknown is left alone")
SERVER = _route("What the server is and how it is", headers=False)
MODEL = _route("What the model can be asked, and what it knows", headers=False)
MODELS = _route("The models, in OpenAI's shape", headers=False)
ONE_OF_MODELS = _route("One model, in OpenAI's shape", headers=False)
CHAT = _route(
    "OpenAI's chat completions: one image, one question",
    _json(
        _object(
            {
                "model": {"type": "string"},
                "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
                "stream": _STREAM,
            },
            ["model", "messages"],
            strict=False,
        ),
        {
            "model": "nano",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Point to the red mug."},
                        {
                            "type": "image_url",
                            "image_url": {"url": f"data:image/png;base64,{PIXEL}"},
                        },
                    ],
                }
            ],
        },
    ),
)
MOONDREAM_QUERY = _route(
    "Moondream's query",
    _json(
        _object(
            {"image_url": _IMAGE_TEXT, "question": {"type": "string"}, "stream": _STREAM},
            ["image_url", "question"],
            strict=False,
        ),
        {"image_url": f"data:image/png;base64,{PIXEL}", "question": "What is this?"},
    ),
)
MOONDREAM_CAPTION = _route(
    "Moondream's caption",
    _json(
        _object(
            {
                "image_url": _IMAGE_TEXT,
                "length": {"type": "string", "enum": ["short", "normal", "long"]},
                "stream": _STREAM,
            },
            ["image_url"],
            strict=False,
        ),
        {"image_url": f"data:image/png;base64,{PIXEL}"},
    ),
)
