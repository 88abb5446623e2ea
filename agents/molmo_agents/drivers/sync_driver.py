"""Runs the steps on Playwright's synchronous API."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from molmo_agents.drivers.async_driver import patiently
from molmo_agents.drivers.steps import AskUser, CallPage, React, RunBlocking, Sleep, Step, Steps
from molmo_agents.errors import PageGone
from molmo_agents.playwright_types import Listener
from molmo_point.errors import UsageError

T = TypeVar("T")


class SyncDriver:
    """Does each step in the thread that owns the page.

    `waiting` says whether the page waits for an answer of ours, so that it cannot give its own.
    """

    def __init__(self) -> None:
        self.waiting: Callable[[], bool] = lambda: False

    def run(self, steps: Steps[T]) -> T:
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
                value = self._do(step)
            except Exception as caught:
                error = caught

    def handler(self, react: React) -> Listener:
        """Make an event handler that runs the steps of `react`."""
        # One argument: Playwright counts them and hands routes a second one where it can.
        return lambda event: self.run(react(event))

    def _do(self, step: Step) -> Any:
        if isinstance(step, CallPage):
            return _bounded(step, self.waiting)
        if isinstance(step, RunBlocking):
            return step.function()
        if isinstance(step, Sleep):
            return step.page.wait_for_timeout(step.seconds * 1000)
        if isinstance(step, AskUser):
            answer = step.function(*step.args)
            if inspect.isawaitable(answer):
                close = getattr(answer, "close", None)
                if close is not None:
                    close()
                raise UsageError("a coroutine function as callback needs AsyncWebPointer")
            return answer
        raise TypeError(f"not a step: {step!r}")


def _bounded(step: CallPage, waiting: Callable[[], bool]) -> Any:
    """Call a Playwright method with a deadline.

    Playwright's own timeouts do not cover CDP and mouse calls: a page in an endless loop would hold us forever. Each sync
    object sends its coroutine through its `_sync`; for the length of this call, ours puts a deadline around the coroutine.
    """
    method = getattr(step.on, step.name)
    original = getattr(step.on, "_sync", None)
    if original is None:
        return method(*step.args, **step.kwargs)
    setattr(step.on, "_sync", lambda work: original(patiently(work, step.timeout_s, waiting)))  # noqa: B010
    try:
        return method(*step.args, **step.kwargs)
    except asyncio.TimeoutError:
        raise PageGone(
            f"the page did not answer within {step.timeout_s:g} s ({step.name}): it may be busy or hung"
        ) from None
    finally:
        delattr(step.on, "_sync")
