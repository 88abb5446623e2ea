"""What OpenAI's clients send to /v1/chat/completions, and the question and image in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from molmo_point.defaults import MAX_TOKENS
from molmo_point.errors import UsageError
from molmo_point.service.http.dialects import Dialect

_TEXT_PARTS = ("text", "input_text")
_IMAGE_PARTS = ("image_url", "input_image", "image")

REFUSED: dict[str, tuple[object, ...]] = {
    "n": (None, 1),
    "tools": (None, []),
    "functions": (None, []),
    "tool_choice": (None, "none", "auto"),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "stop": (None, "", []),
    "logit_bias": (None, {}),
    "audio": (None,),
    "modalities": (None, [], ["text"]),
}
"""Fields that would change what the answer holds, which this model cannot do, and the values that ask for nothing."""


_SWITCHES = {"tools": "tool_choice", "functions": "function_call"}


class Message(BaseModel):
    """One message. What its content holds is looked at only where it counts."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Any = None


class StreamOptions(BaseModel):
    """What a stream holds beside the text."""

    include_usage: bool | None = False


class ChatBody(BaseModel):
    """The body; fields that are neither here nor in REFUSED are without effect."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Message] = Field(min_length=1, max_length=1000)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def longest(self) -> int | None:
        """Longest answer in tokens; None for the model's own limit."""
        limit = self.max_completion_tokens or self.max_tokens
        return min(limit, MAX_TOKENS) if limit else None

    @property
    def counts_usage(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def check_fields(body: ChatBody, dialect: Dialect | None = None) -> None:
    """Refuse what would be ignored to the caller's harm.

    Raises:
        UsageError: It asks for tools, several choices, a format of the answer or the like.
    """
    fields = body.model_extra or {}
    for name, value in fields.items():
        neutral = REFUSED.get(name)
        if neutral is None or value in neutral:
            continue
        if name == "response_format" and dialect is not None and value == {"type": "json_object"}:
            continue  # the dialect says what the answer is
        # Tools that the caller says are not to be used have no effect.
        if fields.get(_SWITCHES.get(name, "")) != "none":
            raise UsageError(
                f"{name} is not supported, leave it out: the answer is one choice, plain text, no tools"
            )


def system_of(body: ChatBody) -> str:
    """Return the texts of the system and developer messages."""
    texts: list[str] = []
    for message in body.messages:
        if message.role in ("system", "developer"):
            texts += _parts(message.content, "", strict=False)[0]
    return "\n".join(text for text in texts if text)


def detail_of(body: ChatBody) -> Literal["low"] | None:
    """Return "low" where the newest image has it; OpenAI's other words ("high", "auto") leave the choice to the server."""
    contents = [message.content for message in body.messages if message.role == "user"]
    for content in reversed(contents):
        parts = content if isinstance(content, list) else [content]
        images = [part for part in parts if _read(part)[0] == "image"]
        if images:
            said = images[-1].get("detail")
            inner = images[-1].get("image_url")
            said = inner.get("detail", said) if isinstance(inner, dict) else said
            return "low" if said == "low" else None
    return None


def question_of(body: ChatBody) -> tuple[str, str | None]:
    """Return the text of the last user message, and the newest image's URL (or base64), None where there is none.

    Only user messages count: what the others hold has no place in the model.

    Raises:
        UsageError: No user message, a part in it that is neither text nor image, or several images in one message.
    """
    users = [
        (i, message.content) for i, message in enumerate(body.messages) if message.role == "user"
    ]
    if not users:
        raise UsageError("expected a message of the role 'user'")
    place, last = users[-1]
    texts, urls = _parts(last, f"messages.{place}.content", strict=True)
    for _, content in reversed(users[:-1]):
        if urls:
            break
        urls = _parts(content, "", strict=False)[1]
    if len(urls) > 1:
        raise UsageError(f"expected one image, got {len(urls)} in one message")
    return "\n".join(text for text in texts if text), urls[0] if urls else None


def _parts(content: object, place: str, *, strict: bool) -> tuple[list[str], list[str]]:
    """Return the texts and the images' URLs of a message; where not `strict`, unknown parts are skipped."""
    if content is None or isinstance(content, str):
        return [content or ""], []
    texts: list[str] = []
    urls: list[str] = []
    items = content if isinstance(content, list) else [content]
    for number, part in enumerate(items):
        kind, value = _read(part)
        if kind == "text":
            texts.append(value)
        elif kind == "image":
            urls.append(value)
        elif strict:
            raise UsageError(
                f"{place}.{number}: expected a part of the type 'text' or 'image_url', got {value}"
            )
    return texts, urls


def _read(part: object) -> tuple[str, str]:
    """Return ("text", text), ("image", URL) or ("", what it is)."""
    if isinstance(part, str):
        return "text", part
    if not isinstance(part, dict):
        return "", type(part).__name__
    kind = part.get("type")
    if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
        return "text", part["text"]
    if kind in _IMAGE_PARTS:
        url = _url(part)
        if url is not None:
            return "image", url
        return "", f"{kind!r} without an image"
    return "", f"the type {str(kind)[:40]!r}" if kind is not None else "a part without a type"


def _url(part: dict[str, Any]) -> str | None:
    """Return the URL of an image in OpenAI's shapes ({"url"}, a string), or the base64 of one in Anthropic's ({"source"})."""
    value = part.get("image_url", part.get("source"))
    if isinstance(value, dict):
        value = value.get("url", value.get("data"))
    return value if isinstance(value, str) else None
