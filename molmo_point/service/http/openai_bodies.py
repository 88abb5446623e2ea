"""What OpenAI's clients send to /v1/chat/completions, and the question and image in it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from molmo_point.errors import UsageError

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


class ChatBody(BaseModel):
    """The body; fields that are neither here nor in REFUSED are without effect."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Message] = Field(min_length=1, max_length=1000)
    stream: bool | None = False


def check_fields(body: ChatBody) -> None:
    """Refuse what would be ignored to the caller's harm.

    Raises:
        UsageError: It asks for tools, several choices, a format of the answer or the like.
    """
    fields = body.model_extra or {}
    for name, value in fields.items():
        neutral = REFUSED.get(name)
        if neutral is None or value in neutral:
            continue
        # Tools that the caller says are not to be used have no effect.
        if fields.get(_SWITCHES.get(name, "")) != "none":
            raise UsageError(
                f"{name} is not supported, leave it out: the answer is one choice, plain text, no tools"
            )


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
