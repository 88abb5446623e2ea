"""Bodies of HTTP requests: JSON with a picture in base64, or multipart with the picture as a file; read and checked."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request as HttpRequest

from molmo_point.errors import ImageError, UsageError
from molmo_point.service.fetch import Fetcher
from molmo_point.wire import ImageHeader, WireError, sniff
from molmo_point.wire.messages import Name, Stamp, Token


class ViewBody(BaseModel):
    """A picture to be kept open."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(
        description="base64, a data: URL, or a URL of a host that the server allows"
    )


class QuestionBody(BaseModel):
    """One question about one picture."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="What to point to or count, or the question.")
    image: str | None = Field(
        default=None,
        description="base64, a data: URL, or a URL of a host that the server allows; or give a view.",
    )
    view: Token | None = Field(default=None, description="Handle from POST /v1/views.")
    stream: bool = Field(default=False, description="Answer in server-sent events.")
    timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = Field(
        default=None, description="Seconds; after that what is complete is the answer."
    )
    camera: Name | None = Field(
        default=None, description="Of its waiting frames the newest wins; needs X-Client-Id."
    )
    stamp_ns: Stamp | None = Field(default=None, description="Passed through untouched.")
    frame_id: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Passed through untouched."
    )


Body = TypeVar("Body", bound=BaseModel)


async def read_json(http: HttpRequest) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        UsageError: It is none.
    """
    data = await http.body()
    try:
        # In a thread: some megabytes of base64 must not hold up those who only ask for /healthz.
        value = await run_in_threadpool(from_json, data, allow_inf_nan=False)
    except ValueError as error:
        raise UsageError(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise UsageError(f"expected a JSON object, got {type(value).__name__}")
    return value


async def read_form(http: HttpRequest) -> tuple[dict[str, Any], bytes | None]:
    """Return the fields of a multipart body and the bytes of its "image" file.

    Raises:
        UsageError: It is not multipart, or has files under other names.
    """
    fields: dict[str, Any] = {}
    image: bytes | None = None
    try:
        async with http.form(max_files=1, max_fields=32, max_part_size=2**26) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    if name != "image":
                        raise UsageError(f'the file must be called "image", got {name[:40]!r}')
                    image = await value.read()
                elif name in fields:
                    raise UsageError(f"the field {name[:40]!r} comes twice")
                else:
                    fields[name] = value
    except UsageError:
        raise
    except Exception as error:  # the parsers raise classes of their own
        raise UsageError(f"the body is not multipart/form-data: {str(error)[:200]}") from None
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


async def picture_bytes(text: str, fetcher: Fetcher) -> bytes:
    """Return the bytes behind a data: URL, an allowed http(s) URL, or bare base64.

    Raises:
        ImageError: It is none of the three.
        Refused: A URL that is not allowed.
    """
    if text.startswith(("http://", "https://")):
        return await run_in_threadpool(fetcher.fetch, text)
    return await run_in_threadpool(_from_base64, text)


def _from_base64(text: str) -> bytes:
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise ImageError(f"expected data:image/...;base64,..., got {head[:60]!r}")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"the picture's base64 is damaged: {error}") from None
    if not data:
        raise ImageError("the picture is empty (0 bytes)")
    return data


def header_of(data: bytes) -> ImageHeader:
    """Return the header for the bytes of a picture file.

    Raises:
        ImageError: They are no JPEG, PNG or WebP.
    """
    encoding = sniff(data)
    if encoding is None:
        raise ImageError(f"expected a JPEG, PNG or WebP file, got one that begins {data[:8]!r}")
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
