"""One replica: a model with a server's queue, deadlines and continuous batches, reached through Ray instead of a socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ray import serve

from molmo_point import api
from molmo_point.errors import PointError, ServiceError
from molmo_point.pointer import Pointer
from molmo_point.service.dispatcher import Dispatcher
from molmo_point.service.settings import Settings
from molmo_point.wire import Reply, Request, error_body

LOAD_POLL_S = 0.1
OPENED = 64
"""Opened images that Ray is told of for each replica; it asks the replica that has one first."""


@dataclass(frozen=True)
class Load:
    """How a replica loads its model.

    Attributes:
        model: Name or folder, which must be there on every machine.
        options: Keyword arguments of `molmo_point.load`.
        max_batch: Questions answered together.
    """

    model: str = "nano"
    options: Mapping[str, Any] = field(default_factory=dict)
    max_batch: int = 8


class Replica:
    """Answers requests of the wire.

    Args:
        load: The model.

    Raises:
        PointError: It cannot be loaded.
    """

    def __init__(self, load: Load) -> None:
        def load_model() -> Pointer:
            return api.load(load.model, max_batch=load.max_batch, **load.options)

        self._dispatcher = Dispatcher(load_model, Settings(max_batch=load.max_batch))
        self._dispatcher.start()
        worker = self._dispatcher.worker
        while not worker.state()[0]:
            if worker.failure is not None:
                raise worker.failure
            time.sleep(LOAD_POLL_S)

    def hello(self) -> bytes:
        """Return a `ServerInfo` as JSON."""
        return self._dispatcher.info().model_dump_json().encode()

    async def exchange(
        self, header: bytes, payload: bytes | None, caller: str
    ) -> AsyncIterator[bytes]:
        """Yield the replies to a request, as JSON, up to the last one. A caller that leaves cancels it.

        Args:
            header: A `Request` as JSON.
            payload: The image's bytes.
            caller: Whose turn it is.
        """
        request = Request.model_validate_json(header)
        opened = serve.get_multiplexed_model_id()
        if opened:
            await self._remember(opened)
        loop = asyncio.get_running_loop()
        replies: asyncio.Queue[Reply] = asyncio.Queue()

        def hear(reply: Reply) -> None:
            loop.call_soon_threadsafe(replies.put_nowait, reply)

        try:
            job = self._dispatcher.submit(
                request, payload, caller=caller, transport="ray", owner=replies, listener=hear
            )
        except PointError as error:
            refusal = Reply(id=request.id, type="error", error=error_body(error))
            yield refusal.model_dump_json().encode()
            return
        try:
            while True:
                # The dispatcher ends every job at its deadline, at the latest.
                reply = await replies.get()
                yield reply.model_dump_json().encode()
                if reply.last:
                    return
        finally:
            if not job.finished:
                self._dispatcher.cancel(caller, request.id)

    @serve.multiplexed(max_num_models_per_replica=OPENED)  # type: ignore[untyped-decorator]
    async def _remember(self, opened: str) -> str:
        """Have Ray note that this replica has an opened image: requests about it come here while this replica lives."""
        return opened

    def check_health(self) -> None:
        """Raise where the model's thread has died: Ray then starts another replica."""
        worker = self._dispatcher.worker
        if not worker.alive:
            raise ServiceError("the model's thread has died; the replica's log says why")

    def __del__(self) -> None:
        dispatcher = getattr(self, "_dispatcher", None)
        if dispatcher is not None:
            dispatcher.stop()
