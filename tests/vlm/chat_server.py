"""A strict server of OpenAI's chat completions over a real socket: it refuses what the API's reference does not allow."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from molmo_point.images import Array, decode_file

ALLOWED = {
    "model", "messages", "temperature", "max_tokens", "stream", "stream_options", "logprobs"
}  # fmt: skip


@dataclass
class Script:
    """What the server has and answers.

    Attributes:
        models: Names of its models.
        answer: From (image, prompt) to the pieces of the text.
        logprobs: For each piece; None for a server that sends none.
        reason: Why the text ends; None for a server that closes the stream without a word.
        streams: False for a server that answers in one body.
        pause_s: Before each piece.
        status: Of every answer.
        body: Sent as it is in the place of every answer.
        prompts: What was asked so far.
    """

    models: Sequence[str] = ("qwen3-vl-4b",)
    answer: Callable[[Array, str], Sequence[str]] = lambda image, prompt: ["[]"]
    logprobs: Sequence[float] | None = None
    reason: str | None = "stop"
    streams: bool = True
    pause_s: float = 0.0
    status: int = 200
    body: dict[str, Any] | None = None
    prompts: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            return self._json(404, {"error": {"message": f"no page {self.path}"}})
        names = [{"id": name, "object": "model"} for name in self.script.models]
        return self._json(200, {"object": "list", "data": names})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        problem = _problem(self.path, body, self.script)
        if problem is not None:
            return self._json(*problem)
        kinds = {part["type"]: part for part in body["messages"][0]["content"]}
        url, prompt = kinds["image_url"]["image_url"]["url"], kinds["text"]["text"]
        self.script.prompts.append(prompt)
        head, _, data = url.partition(",")
        assert head in ("data:image/png;base64", "data:image/jpeg;base64")
        pieces = self.script.answer(decode_file(base64.b64decode(data), "sent"), prompt)
        if self.script.body is not None:
            return self._json(200, self.script.body)
        if not self.script.streams:
            choice = {
                "index": 0,
                "finish_reason": self.script.reason,
                "message": {"role": "assistant", "content": "".join(pieces)},
            }
            return self._json(200, {"object": "chat.completion", "choices": [choice]})
        return self._stream(pieces, bool(body.get("logprobs")))

    def _stream(self, pieces: Sequence[str], with_logprobs: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self._event({"delta": {"role": "assistant", "content": ""}, "finish_reason": None})
        for index, piece in enumerate(pieces):
            time.sleep(self.script.pause_s)
            choice: dict[str, Any] = {"delta": {"content": piece}, "finish_reason": None}
            if with_logprobs and self.script.logprobs is not None:
                token = {
                    "token": piece,
                    "logprob": self.script.logprobs[index],
                    "top_logprobs": [],
                }
                choice["logprobs"] = {"content": [token]}
            self._event(choice)
        if self.script.reason is not None:
            self._event({"delta": {}, "finish_reason": self.script.reason})
            usage = {"prompt_tokens": 700, "completion_tokens": len(pieces)}
            self._write({"choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, choice: dict[str, Any]) -> None:
        self._write({"object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]})

    def _write(self, value: dict[str, Any]) -> None:
        self.wfile.write(b": ping\n\ndata: " + json.dumps(value).encode() + b"\n\n")
        self.wfile.flush()

    def _json(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _problem(path: str, body: dict[str, Any], script: Script) -> tuple[int, dict[str, Any]] | None:
    """Return the refusal of a request, or None."""
    said = {"error": {"message": "no", "type": "invalid_request_error"}}
    if script.status != 200:
        return script.status, said
    if path != "/v1/chat/completions" or body["model"] not in script.models:
        return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
    if set(body) - ALLOWED or body["max_tokens"] < 1:
        return 400, said
    return None


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Run a server on a free port of this machine; yield its address for `connect`."""
    handler = type("Handler", (_Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"openai+http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
