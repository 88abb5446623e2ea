"""The HTTP exchange with a server of OpenAI's chat completions: a question in, pieces of text out until a deadline."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from molmo_point.client.http_session import ERRORS, failure, httpx, open_session
from molmo_point.client.per_process import PerProcess
from molmo_point.errors import (
    Busy,
    ModelNotFound,
    PointError,
    Refused,
    ServiceError,
    TimedOut,
    UsageError,
)
from molmo_point.points import FinishReason
from molmo_point.vlm.reply import Exchange, Reply, Token

_ANSWERS = ("choices", "error")
"""Keys of which a whole answer has one."""

_SHOWN = 200
"""Characters of a server's error message that are repeated."""


class ChatServer:
    """Connections to one server, kept alive; each process has its own.

    Args:
        url: Up to and with its version, such as http://gpu:8000/v1.
        token: Sent as a bearer token.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self._session = PerProcess(lambda: open_session(url, token))

    def models(self, timeout_s: float) -> list[str]:
        """Return the names of the models that the server has.

        Raises:
            ServerGone, Refused, ServiceError.
        """
        try:
            response = self._session.get().get("models", timeout=timeout_s)
            if response.is_error:
                raise self._refusal(response.status_code, response.text, "")
            listed = response.json()["data"]
            return [str(entry["id"]) for entry in listed]
        except ERRORS as error:
            raise failure(self.url, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(
                f"expected the list of models of an OpenAI-compatible server at {self.url}/models, got something else"
            ) from error

    def complete(self, body: Mapping[str, Any], timeout_s: float) -> Exchange:
        """Send a question; yield each piece of text; return everything.

        A deadline that passes after the first piece ends the answer with the reason `timeout`.

        Raises:
            TimedOut: Nothing came in time.
            ServerGone, Refused, Busy, ModelNotFound, UsageError, ServiceError: The server does not answer, or refuses.
        """
        until = time.monotonic() + timeout_s
        reply = Reply()
        try:
            with self._session.get().stream(
                "POST", "chat/completions", json=dict(body), timeout=max(0.01, timeout_s)
            ) as response:
                whole = "event-stream" not in response.headers.get("content-type", "")
                if response.is_error:
                    text = response.read().decode("utf-8", "replace")
                    raise self._refusal(response.status_code, text, str(body.get("model")))
                for event in _events(response):
                    if whole and isinstance(event, Mapping) and not any(map(event.get, _ANSWERS)):
                        raise ServiceError(
                            f"{self.url} sent {str(event)[:_SHOWN]!r} in place of an answer"
                        )
                    piece = self._take(reply, event)
                    if piece:
                        yield piece
                    if time.monotonic() > until and reply.finish_reason is None:
                        reply.finish_reason = FinishReason.TIMEOUT
                        break
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                raise failure(self.url, error) from error
            if not reply.text:
                raise TimedOut(
                    f"{self.url} did not answer within {timeout_s:g} s: give it more time"
                ) from error
            reply.finish_reason = FinishReason.TIMEOUT
        except ERRORS as error:
            raise failure(self.url, error) from error
        return reply

    def close(self) -> None:
        """Close the connections of this process."""
        self._session.get().close()

    def _take(self, reply: Reply, event: object) -> str:
        """Add an event to the reply; return its text."""
        if not isinstance(event, Mapping):
            raise ServiceError(f"{self.url} sent {str(event)[:_SHOWN]!r} in place of an answer")
        if event.get("error"):
            raise ServiceError(f"{self.url} failed: {_message(event)[:_SHOWN]}")
        usage = event.get("usage")
        if isinstance(usage, Mapping):
            reply.prompt_tokens = _whole(usage.get("prompt_tokens"))
            reply.new_tokens = _whole(usage.get("completion_tokens"))
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        part = (
            choice.get("delta") or choice.get("message") if isinstance(choice, Mapping) else None
        )
        piece = _content(part or {})
        if piece is None or not isinstance(choice, Mapping):
            raise ServiceError(f"{self.url} sent {str(event)[:_SHOWN]!r} in place of an answer")
        reason = choice.get("finish_reason")
        if reason is not None:
            reply.finish_reason = FinishReason.LENGTH if reason == "length" else FinishReason.STOP
        reply.text += piece
        reply.tokens += _tokens(choice.get("logprobs"))
        return piece

    def _refusal(self, status: int, text: str, model: str) -> PointError:
        """Return the error for an HTTP status."""
        said = _message(text)[:_SHOWN]
        if status in (401, 403):
            return Refused(f"{self.url} refuses this client ({said}): give token=...")
        if status == 429:
            return Busy(f"{self.url} takes no more questions now ({said}): try again in a moment")
        if status == 404 and model:
            return ModelNotFound(
                f"{self.url} has no model {model!r} ({said}): see its /models for the names"
            )
        if status in (400, 404, 413, 415, 422):
            return UsageError(f"{self.url} does not take the question: {status}, {said}")
        return ServiceError(f"{self.url} failed: {status}, {said}")


def image_part(data: bytes, kind: str) -> dict[str, Any]:
    """Return the part of a message that holds an image file of that kind ("png", "jpeg")."""
    text = base64.b64encode(data).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{text}"}}


def _events(response: httpx.Response) -> Iterator[object]:
    """Yield the JSON of each event; the whole body for a server that does not stream."""
    if "event-stream" not in response.headers.get("content-type", ""):
        yield _json(response.read().decode("utf-8", "replace"))
        return
    for line in response.iter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        yield _json(data)


def _content(part: object) -> str | None:
    """Return the text of a message or of a piece of one, which may be in parts; None where it has another form."""
    content = part.get("content") if isinstance(part, Mapping) else part
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [each.get("text") for each in content if isinstance(each, Mapping)]
        content = "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) and isinstance(part, Mapping) else None


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tokens(logprobs: object) -> list[Token]:
    """Return the tokens that come with log-probabilities; none where their form is another."""
    listed = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(listed, list):
        return []
    return [
        Token(entry["token"], float(entry["logprob"]))
        for entry in listed
        if isinstance(entry, Mapping)
        and isinstance(entry.get("token"), str)
        and isinstance(entry.get("logprob"), (int, float))
    ]


def _message(answer: object) -> str:
    """Return what a server says about an error: {"error": {"message": ...}}, {"error": ...}, or the text itself."""
    value = _json(answer) if isinstance(answer, str) else answer
    for key in ("error", "detail", "message"):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
    return " ".join(str(value).split())


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
