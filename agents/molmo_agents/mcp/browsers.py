"""The browsers behind the MCP tools: one for each client, whose calls take turns."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from molmo_agents.async_pointer import AsyncWebPointer
from molmo_agents.browser.launch import Screen, context_options, launch
from molmo_agents.defaults import MCP_IDLE_S
from molmo_agents.mcp.answer import ConfirmForm, question_text
from molmo_agents.policy import Confirmation, Policy
from molmo_point.errors import UsageError
from molmo_point.install import import_failure
from molmo_point.pointer import Pointer

MOST_CLIENTS = 8
"""Browsers at a time; the one unused for longest makes room."""


class BrowserHolder:
    """The browser of one client, started with its first call. Use it within `turn` only."""

    def __init__(
        self, pointer: Pointer, policy: Policy, screen: Screen, files: Path | None
    ) -> None:
        self._pointer = pointer
        self._given = policy.confirm
        self.policy = replace(policy, confirm=self._ask)
        self._screen = screen
        self._files = files
        self._playwright: Any = None
        self._browser: Any = None
        self._windows: list[AsyncWebPointer] = []
        self._current = 0
        self._call: Any = None
        self._lock = asyncio.Lock()
        self.used_s = time.monotonic()

    @asynccontextmanager
    async def turn(self, call: Any = None) -> AsyncIterator[BrowserHolder]:
        """Wait until no other call of this client is under way; `call` is the SDK's context, for questions."""
        async with self._lock:
            self.used_s = time.monotonic()
            self._call = call
            try:
                yield self
            finally:
                self._call = None
                self.used_s = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._lock.locked()

    async def web(self) -> AsyncWebPointer:
        """Return the pointer on the current window; a browser is started where none is open."""
        for index in [self._current, *range(len(self._windows))]:
            if index < len(self._windows) and not self._windows[index].page.is_closed():
                self._current = index
                return self._windows[index]
        await self._end()
        try:
            from playwright.async_api import async_playwright
        except ImportError as error:
            raise import_failure(error, "playwright", "agents", "driving a browser") from error
        self._playwright = await async_playwright().start()
        self._browser = await launch(self._playwright)
        page = await (await self._browser.new_context(**context_options(self._screen))).new_page()
        self._windows, self._current = [AsyncWebPointer(page, self._pointer, self.policy)], 0
        return self._windows[0]

    async def windows(self) -> list[AsyncWebPointer]:
        """Return the pointers on all open windows: the first, and those that pages opened."""
        await self.web()
        for web in list(self._windows):
            known = [other.page for other in self._windows]
            self._windows += [web.on(page) for page in web.popups if page not in known]
        current = self._windows[self._current]
        self._windows = [web for web in self._windows if not web.page.is_closed()]
        self._current = self._windows.index(current)
        return self._windows

    async def switch(self, number: int) -> AsyncWebPointer:
        """Make the window with this number (1 is the first) the current one.

        Raises:
            UsageError: There is no such window.
        """
        windows = await self.windows()
        if not 1 <= number <= len(windows):
            raise UsageError(f"there is no window {number}: there are {len(windows)}, from 1")
        self._current = number - 1
        await windows[self._current].attach()
        await windows[self._current].page.bring_to_front()
        return windows[self._current]

    def file(self, name: str) -> Path:
        """Return the file of the server's folder that a client may upload by this name.

        Raises:
            UsageError: No folder was given, the name leads out of it, or there is no such file.
        """
        if self._files is None:
            raise UsageError("this server uploads no files: start it with --files FOLDER")
        folder = self._files.resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise UsageError(f"there is no file {name!r} in the server's folder")
        return path

    async def close(self) -> None:
        """End the browser, after the call under way."""
        async with self._lock:
            await self._end()

    async def _end(self) -> None:
        with suppress(Exception):
            if self._browser is not None:
                await self._browser.close()
        with suppress(Exception):
            if self._playwright is not None:
                await self._playwright.stop()
        self._browser, self._playwright, self._windows = None, None, []

    async def _ask(self, question: Confirmation) -> bool | str:
        """Ask the policy's own callback, then the person behind the client; one that cannot be asked has not said yes."""
        if self._given is not None:
            said = self._given(question)
            answer = await said if inspect.isawaitable(said) else said
            if answer is True or isinstance(answer, str):
                return answer
        if self._call is None or not hasattr(self._call, "elicit"):
            return False
        try:
            reply = await self._call.elicit(message=question_text(question), schema=ConfirmForm)
        except Exception:
            return False
        if getattr(reply, "action", "") != "accept" or not getattr(reply.data, "allow", False):
            return False
        text = str(getattr(reply.data, "text", ""))
        return text if question.role == "prompt" and question.verb == "answer" and text else True


class BrowserHolders:
    """A holder for each client: one on stdio; over HTTP one for each session."""

    def __init__(
        self, pointer: Pointer, policy: Policy, screen: Screen, files: Path | None, http: bool
    ) -> None:
        self._make: Callable[[], BrowserHolder] = lambda: BrowserHolder(
            pointer, policy, screen, files
        )
        self._http = http
        self._holders: dict[str, BrowserHolder] = {}

    async def of(self, call: Any, session: str, *, new: bool) -> tuple[BrowserHolder, str]:
        """Return the holder of a call's client, and the session it has to give with its next call, or "".

        Args:
            call: The SDK's context of the call.
            session: What the client gave as its session, or "".
            new: Whether this call may begin a session.

        Raises:
            UsageError: Over HTTP, a client without a session, or with one that is not known.
        """
        await self._sweep()
        key, given = "stdio", ""
        if self._http:
            key = header(call)
            if not key and session:
                if session not in self._holders:
                    raise UsageError("this session is not known: begin another with open_page")
                key, given = session, session
            elif not key:
                if not new:
                    raise UsageError(
                        "this client has no session: call open_page first, and give the session it answers with every call"
                    )
                key = given = secrets.token_urlsafe(16)
        if key not in self._holders:
            self._holders[key] = self._make()
        return self._holders[key], given

    async def close(self) -> None:
        """End all browsers."""
        holders, self._holders = list(self._holders.values()), {}
        for holder in holders:
            await holder.close()

    async def _sweep(self) -> None:
        """Close browsers that nobody uses any more, and the oldest where there are too many."""
        now = time.monotonic()
        idle = [key for key, holder in self._holders.items() if not holder.busy]
        idle.sort(key=lambda key: self._holders[key].used_s)
        over = max(0, len(self._holders) - MOST_CLIENTS)
        for index, key in enumerate(idle):
            if index < over or now - self._holders[key].used_s > MCP_IDLE_S:
                await self._holders.pop(key).close()


def header(call: Any) -> str:
    """Return the transport's session id of a call, or "" where it has none."""
    headers = getattr(call, "headers", None)
    if headers is None:
        try:
            headers = call.request_context.request.headers
        except (AttributeError, ValueError):
            return ""
    return str((headers or {}).get("mcp-session-id") or "")
