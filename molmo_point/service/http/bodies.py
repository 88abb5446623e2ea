"""Bodies of HTTP requests: JSON with images in base64, or multipart with the images as files; read and checked."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, Union

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import from_json
from starlette.requests import Request as HttpRequest

from molmo_point.defaults import (
    MAX_CROPS,
    MAX_QUERIES,
    MAX_QUERY_CHARACTERS,
    MAX_TIMEOUT_S,
    MAX_TOKENS,
)
from molmo_point.errors import UsageError
from molmo_point.service.http.access import BODY
from molmo_point.service.http.multipart import parts_of
from molmo_point.wire import Buffer, WireError
from molmo_point.wire.messages import MOST_PARTS, Name, Seconds, Stamp, Token

MAX_VALUES = 100_000
"""Commas and brackets of one JSON body. A chat of 1000 messages has some ten thousand."""

LARGE = 2
"""Bodies that are parsed, or images whose base64 is decoded, at once: each takes up to five times its size meanwhile."""


class ImagesBody(BaseModel):
    """What an image, several or a video are given in."""

    model_config = ConfigDict(extra="forbid")

    image: str | None = Field(
        default=None,
        description="base64, a data: URL, or a URL of a host that the server allows; or give a view.",
    )
    images: Annotated[list[str], Field(max_length=MOST_PARTS)] = Field(
        default=[], description="In place of image: several, which are asked about together."
    )
    times_s: Annotated[list[Seconds], Field(max_length=MOST_PARTS)] = Field(
        default=[], description="Makes the images the frames of a video: ascending seconds."
    )

    @field_validator("times_s", mode="before")
    @classmethod
    def _times_from_text(cls, value: object) -> object:
        return _from_json(value, "seconds, such as [0.0, 0.5]")


_WORDS: dict[str, Any] = {"minLength": 1, "maxLength": MAX_QUERY_CHARACTERS, "pattern": r"\S"}


class ViewBody(ImagesBody):
    """An image, several or a video to be kept open."""

    detail: Union[Annotated[int, Field(ge=1, le=MAX_CROPS)], Literal["auto", "low"]] | None = (
        Field(
            default=None,
            description="auto, low (the global crop alone), or the largest number of crops; not with a view.",
        )
    )


class _AskingBody(ViewBody):
    """What is asked. Besides images and `stream`, the fields of the wire's `Request` under the same names."""

    stream: bool = Field(default=False, description="Answer in server-sent events.")
    timeout_s: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S, allow_inf_nan=False)] | None = Field(
        default=None, description="Seconds; after that what is complete is the answer."
    )
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = Field(
        default=None, description="Longest answer in tokens, where the model can be told."
    )
    camera: Name | None = Field(
        default=None, description="Of its waiting frames the newest wins; needs X-Client-Id."
    )
    stamp_ns: Stamp | None = Field(default=None, description="Passed through untouched.")
    frame_id: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Passed through untouched."
    )


class QuestionBody(_AskingBody):
    """One question."""

    query: str = Field(
        description="What to point to or count, or the question.", json_schema_extra={**_WORDS}
    )
    view: Token | None = Field(default=None, description="Handle from POST /v1/views.")


class QueriesBody(_AskingBody):
    """Several queries about one image, which is encoded once; in a multipart body `queries` is the text of a JSON list."""

    queries: Annotated[
        list[Annotated[str, Field(json_schema_extra={**_WORDS})]],
        Field(min_length=1, max_length=MAX_QUERIES),
    ] = Field(description="What to point to or count.")

    @field_validator("queries", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return _from_json(value, 'queries, such as ["mug", "cup"]')


def _from_json(value: object, what: str) -> object:
    """Return a list that a multipart body holds as text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(f"expected a JSON list of {what}") from None


Body = TypeVar("Body", bound=BaseModel)


async def read_json(http: HttpRequest) -> dict[str, Any]:
    """Return the JSON object of a body, and free the body.

    Raises:
        UsageError: It is none, is said to be something else, or holds more values than any request does.
    """
    kind = content_type(http)
    if kind != "application/json":
        raise UsageError(f"expected Content-Type application/json, got {kind[:80] or 'none'}")
    data: bytearray = http.scope[BODY]
    # In a thread: some megabytes of base64 must not hold up those who only ask for /healthz.
    value = await to_thread.run_sync(
        _parse, data, limiter=limiter(http.app, "large bodies", LARGE)
    )
    if not isinstance(value, dict):
        raise UsageError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _parse(data: bytearray) -> Any:
    # Each becomes an object of some hundred bytes; counted within strings, too, where a request has few of them.
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if values > MAX_VALUES:
        raise UsageError(f"the body holds about {values:,} values, the limit is {MAX_VALUES:,}")
    if data.startswith(codecs.BOM_UTF8):  # PowerShell and .NET write one
        del data[: len(codecs.BOM_UTF8)]
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise UsageError(f"the body is not JSON: {str(error)[:200]}") from None
    data.clear()
    return value


def content_type(http: HttpRequest) -> str:
    """Return the media type of the body, in lower case, "" where it is not given."""
    return http.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_form(http: HttpRequest) -> tuple[dict[str, Any], list[Buffer]]:
    """Return the fields of a multipart body and the bytes of its "image" files, views of the body.

    Raises:
        UsageError: It is not multipart, or has files under other names.
    """
    fields: dict[str, Any] = {}
    images: list[Buffer] = []
    for part in parts_of(http.scope[BODY], http.headers.get("content-type", "")):
        if part.is_file:
            if part.name != "image":
                raise UsageError(f'the file must be called "image", got {part.name[:40]!r}')
            images.append(part.data)
        elif part.name in ("image", "images"):
            raise UsageError(
                '"image" must be a file in a multipart body, or several files: give each part a file name'
            )
        elif part.name in fields:
            raise UsageError(f"the field {part.name[:40]!r} comes twice")
        else:
            fields[part.name] = part.text()
    return fields, images


def check(model: type[Body], fields: dict[str, Any]) -> Body:
    """Return the fields as `model`.

    Raises:
        UsageError: One is missing, unknown or out of range; the message names it.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        place = _field(found[0]["loc"])
        # A field of several types has an error for each of them.
        said = dict.fromkeys(
            entry["msg"].removeprefix("Value error, ")
            for entry in found
            if _field(entry["loc"]) == place
        )
        raise UsageError(f"{place[:80]}: {'; or '.join(said)}") from None


def _field(location: Sequence[int | str]) -> str:
    """Return a field's name in dots, without the names that pydantic gives to the types of a union ("constrained-int")."""
    first, rest = list(map(str, location[:1])), map(str, location[1:])
    named = [part for part in rest if part.isdecimal() or part.isidentifier()]
    return ".".join(first + named) or "body"


def limiter(app: Any, name: str, most: int) -> CapacityLimiter:
    """Return the application's limit for how many of one kind of work run at once."""
    limiters: dict[str, CapacityLimiter] = app.state.limiters
    if name not in limiters:
        limiters[name] = CapacityLimiter(most)
    return limiters[name]


def token_header(http: HttpRequest, name: str) -> str | None:
    """Return a header that must be a short printable token, or None.

    Raises:
        WireError: It is something else.
    """
    value = http.headers.get(name)
    if value is None:
        return None
    if not (
        0 < len(value) <= 128 and value.isascii() and value.isprintable() and " " not in value
    ):
        raise WireError(f"{name}: expected up to 128 printable characters without spaces")
    return value


def dumps(value: object) -> str:
    """Return compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
