"""Answers in the shape of OpenAI's chat completions: whole, or in chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from molmo_point.errors import PointError
from molmo_point.points import FinishReason, Timing
from molmo_point.service.http.bodies import dumps
from molmo_point.service.http.errors import as_json
from molmo_point.wire import Reply, error_body


class Chat:
    """One completion.

    Args:
        model: The name under which the client asked.
        counts_usage: Whether a stream ends with the numbers of tokens.
    """

    def __init__(self, model: str, *, counts_usage: bool = False) -> None:
        self._model = model
        self._name = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._counts_usage = counts_usage

    def whole(self, reply: Reply) -> dict[str, Any]:
        """Return the completion of a text reply."""
        message = {"role": "assistant", "content": reply.text or "", "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": _reason(reply),
            "logprobs": None,
        }
        return self._object("chat.completion", [choice], _usage(reply.timing))

    async def chunks(self, replies: AsyncIterator[Reply]) -> AsyncIterator[str]:
        """Yield server-sent events, one for each piece of text; a refusal is an event, too."""
        try:
            yield self._chunk({"role": "assistant", "content": ""})
            async for reply in replies:
                if not reply.last:
                    yield self._chunk({"content": reply.text or ""})
                    continue
                yield self._chunk({}, _reason(reply))
                if self._counts_usage:
                    usage = _usage(reply.timing)
                    yield _event(self._object("chat.completion.chunk", [], usage))
        except PointError as error:
            yield _event(as_json(error_body(error)))
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return _event(self._object("chat.completion.chunk", [choice], None))

    def _object(
        self, kind: str, choices: list[dict[str, Any]], usage: dict[str, int] | None
    ) -> dict[str, Any]:
        return {
            "id": self._name,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
            "usage": usage,
        }


def _event(value: dict[str, Any]) -> str:
    return f"data: {dumps(value)}\n\n"


def _usage(timing: Timing | None) -> dict[str, int] | None:
    """Return the numbers of tokens; None where the model does not know them."""
    if timing is None or not timing.prompt_tokens:
        return None
    read, written = timing.prompt_tokens, timing.new_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _reason(reply: Reply) -> str:
    """Return why a text ended, in OpenAI's words: what a deadline cut has no word of its own there."""
    return "stop" if reply.finish_reason in (None, FinishReason.STOP) else "length"
