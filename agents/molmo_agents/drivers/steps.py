"""How the core does I/O without doing any: it yields what it wants done, a driver does it and sends back the result.

Everything in this package that decides is a generator of `Step`s. `sync_driver` and `async_driver` are the only files
that call Playwright; the two faces `WebPointer` and `AsyncWebPointer` run the very same generators.
A test can run them with no browser at all, answering the steps itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar, Union

from molmo_agents.defaults import ANSWER_TIMEOUT_S
from molmo_agents.playwright_types import Json, Listener, Page

T = TypeVar("T")


@dataclass(frozen=True)
class CallPage:
    """Call `name` of a Playwright object; give up after `timeout_s` seconds with `PageGone`."""

    on: object
    name: str
    args: tuple[object, ...] = ()
    kwargs: Json = field(default_factory=dict)
    timeout_s: float = ANSWER_TIMEOUT_S


@dataclass(frozen=True)
class RunBlocking:
    """Call something slow that is not Playwright (the model); the async driver does it in a thread."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class AskUser:
    """Call the user's own callback, which may be a coroutine function where the driver is async."""

    function: Listener
    args: tuple[object, ...] = ()


@dataclass(frozen=True)
class Sleep:
    """Wait that many seconds while the page runs and its events are delivered."""

    page: Page
    seconds: float


Step = Union[CallPage, RunBlocking, AskUser, Sleep]
Steps = Generator[Step, Any, T]

React = Callable[..., Steps[Any]]
"""What is done about an event."""

Handler = Callable[[React], Listener]
"""Makes an event handler that runs the steps of a reaction."""


def call(
    on: object, name: str, *args: object, timeout_s: float = ANSWER_TIMEOUT_S, **kwargs: Any
) -> Steps[Any]:
    """Yield one `CallPage` and return what it gave."""
    return (yield CallPage(on, name, args, kwargs, timeout_s))


def think(function: Callable[[], T]) -> Steps[T]:
    """Yield one `RunBlocking` and return what it gave."""
    result: T = yield RunBlocking(function)
    return result


def pause(page: Page, seconds: float) -> Steps[None]:
    """Yield one `Sleep`."""
    yield Sleep(page, seconds)
