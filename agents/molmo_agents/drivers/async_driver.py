"""Runs the steps on Playwright's asynchronous API."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from molmo_agents.defaults import ROUTED_ANSWER_TIMEOUT_S
from molmo_agents.drivers.steps import AskUser, CallPage, React, RunBlocking, Sleep, Step, Steps
from molmo_agents.errors import PageGone
from molmo_agents.playwright_types import Listener

T = TypeVar("T")


class AsyncDriver:
    """Does each step on the event loop that owns the page; the model runs in a thread.

    `waiting` says whether the page waits for an answer of ours, so that it cannot give its own.
    """

    def __init__(self) -> None:
        self.waiting: Callable[[], bool] = lambda: False

    async def run(self, steps: Steps[T]) -> T:
        """Run `steps` to completion and return their result."""
        value: Any = None
        error: Exception | None = None
        while True:
            try:
                step = steps.send(value) if error is None else steps.throw(error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            value, error = None, None
            try:
                value = await self._do(step)
            except Exception as caught:
                error = caught

    def handler(self, react: React) -> Listener:
        """Make an event handler that runs the steps of `react`."""

        async def handle(event: object) -> None:
            await self.run(react(event))

        return handle

    async def _do(self, step: Step) -> Any:
        if isinstance(step, CallPage):
            result = getattr(step.on, step.name)(*step.args, **step.kwargs)
            if not inspect.isawaitable(result):
                return result
            try:
                return await patiently(result, step.timeout_s, self.waiting)
            except asyncio.TimeoutError:
                raise PageGone(
                    f"the page did not answer within {step.timeout_s:g} s ({step.name}): "
                    "it may be busy or hung"
                ) from None
        if isinstance(step, RunBlocking):
            return await asyncio.to_thread(step.function)
        if isinstance(step, Sleep):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, AskUser):
            answer = step.function(*step.args)
            return await answer if inspect.isawaitable(answer) else answer
        raise TypeError(f"not a step: {step!r}")


async def patiently(work: Awaitable[T], timeout_s: float, waiting: Callable[[], bool]) -> T:
    """Return what `work` gives within `timeout_s` seconds; while `waiting` says so, within `ROUTED_ANSWER_TIMEOUT_S`.

    Raises:
        asyncio.TimeoutError: It gave nothing; it is cancelled.
    """
    task = asyncio.ensure_future(work)
    end = time.monotonic() + ROUTED_ANSWER_TIMEOUT_S
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=timeout_s)
            if done:
                return task.result()
            if not waiting() or time.monotonic() > end:
                raise asyncio.TimeoutError
    finally:
        # Cancelled from outside, too, it must not go on by itself.
        task.cancel()
