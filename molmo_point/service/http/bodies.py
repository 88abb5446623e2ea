"""Bodies of HTTP requests: JSON with an image in base64, or multipart with the image as a file; read and checked."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import from_json
from starlette.requests import Request as HttpRequest

from molmo_point.defaults import MAX_QUERIES, MAX_QUERY_CHARACTERS, MAX_TIMEOUT_S, MAX_TOKENS
from molmo_point.errors import ImageError, UsageError
from molmo_point.images import decode_base64, sniff
from molmo_point.images.formats import READABLE, other_kind
from molmo_point.service.http.access import BODY
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.multipart import parts_of
from molmo_point.wire import Buffer, ImageHeader, WireError
from molmo_point.wire.messages import Name, Stamp, Token

MAX_VALUES = 100_000
"""Commas and brackets of one JSON body. A chat of 1000 messages has some ten thousand."""

LARGE = 2
"""Bodies that are parsed, or images whose base64 is decoded, at once: each takes up to five times its size meanwhile."""

FETCHES = 8
"""Images that are fetched at once."""


class ViewBody(BaseModel):
    """An image to be kept open."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(
        description="base64, a data: URL, or a URL of a host that the server allows"
    )


_WORDS: dict[str, Any] = {"minLength": 1, "maxLength": MAX_QUERY_CHARACTERS, "pattern": r"\S"}


class _ImageBody(BaseModel):
    """What is asked about one image. Besides `image` and `stream`, the fields of the wire's `Request` under the same names."""

    model_config = ConfigDict(extra="forbid")

    image: str | None = Field(
        default=None,
        description="base64, a data: URL, or a URL of a host that the server allows; or give a view.",
    )
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


class QuestionBody(_ImageBody):
    """One question."""

    query: str = Field(
        description="What to point to or count, or the question.", json_schema_extra={**_WORDS}
    )
    view: Token | None = Field(default=None, description="Handle from POST /v1/views.")


class QueriesBody(_ImageBody):
    """Several queries about one image, which is encoded once; in a multipart body `queries` is the text of a JSON list."""

    queries: Annotated[
        list[Annotated[str, Field(json_schema_extra={**_WORDS})]],
        Field(min_length=1, max_length=MAX_QUERIES),
    ] = Field(description="What to point to or count.")

    @field_validator("queries", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError('expected a JSON list of queries, such as ["mug", "cup"]') from None


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
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise UsageError(f"the body is not JSON: {str(error)[:200]}") from None
    data.clear()
    return value


def content_type(http: HttpRequest) -> str:
    """Return the media type of the body, in lower case, "" where it is not given."""
    return http.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_form(http: HttpRequest) -> tuple[dict[str, Any], Buffer | None]:
    """Return the fields of a multipart body and the bytes of its "image" file, a view of the body.

    Raises:
        UsageError: It is not multipart, or has files under other names.
    """
    fields: dict[str, Any] = {}
    image: Buffer | None = None
    for part in parts_of(http.scope[BODY], http.headers.get("content-type", "")):
        if part.is_file:
            if part.name != "image":
                raise UsageError(f'the file must be called "image", got {part.name[:40]!r}')
            if image is not None:
                raise UsageError("expected one image, got several files")
            image = part.data
        elif part.name in fields:
            raise UsageError(f"the field {part.name[:40]!r} comes twice")
        else:
            fields[part.name] = part.text()
    return fields, image


def check(model: type[Body], fields: dict[str, Any]) -> Body:
    """Return the fields as `model`.

    Raises:
        UsageError: One is missing, unknown or out of range; the message names it.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in detail["loc"]) or "body"
        raise UsageError(f"{place[:80]}: {detail['msg']}") from None


async def image_bytes(
    http: HttpRequest, text: str, fetcher: Fetcher, timeout_s: float | None = None
) -> bytes:
    """Return the bytes behind a data: URL, an allowed http(s) URL, or bare base64.

    Args:
        http: The request.
        text: One of the three.
        fetcher: Fetches URLs.
        timeout_s: The caller's deadline, which a fetch must keep, too.

    Raises:
        ImageError: It is none of the three.
        Refused: A URL that is not allowed.
        TimedOut: The image's host took too long.
    """
    if text[:8].lower().startswith(("http://", "https://")):
        # Threads of their own: a slow host delays only the requests that name its images.
        return await fetcher.fetch_soon(text, limiter(http.app, "fetches", FETCHES), timeout_s)
    if not text.isascii():  # in texts of other characters every step costs a hundred times as much
        raise ImageError("the image's base64 is damaged: it holds characters beyond ASCII")
    large = limiter(http.app, "large bodies", LARGE)
    return await to_thread.run_sync(decode_base64, text, "the image", limiter=large)


def limiter(app: Any, name: str, most: int) -> CapacityLimiter:
    """Return the application's limit for how many of one kind of work run at once."""
    limiters: dict[str, CapacityLimiter] = app.state.limiters
    if name not in limiters:
        limiters[name] = CapacityLimiter(most)
    return limiters[name]


def header_of(data: Buffer) -> ImageHeader:
    """Return the header for the bytes of an image file.

    Raises:
        ImageError: They are none that the server takes.
    """
    encoding = sniff(data)
    if encoding is None:
        other = other_kind(data)
        found = f"it is {other}" if other else f"it begins {bytes(data[:8])!r}"
        raise ImageError(f"expected an image file ({READABLE}), but {found}")
    return ImageHeader(encoding=encoding)


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
