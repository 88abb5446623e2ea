"""What happens around a press that the page's own document cannot tell: dialogs, windows, downloads, requests, crashes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from molmo_agents.defaults import CLOSE_TIMEOUT_S
from molmo_agents.drivers.steps import AskUser, Handler, Steps, call
from molmo_agents.outcome import Dialog
from molmo_agents.playwright_types import (
    Download,
    Emitter,
    Listener,
    Page,
    PageDialog,
    PageFrame,
    Request,
    Response,
)
from molmo_agents.policy import Confirmation, Policy, Rules
from molmo_agents.risk import Facts, risks_of

AWAITED = frozenset({"document", "xhr", "fetch", "script", "stylesheet"})
"""Requests worth waiting for after a press; images, beacons and streams are not."""


@dataclass
class EventRecord:
    """What was seen since the last press began."""

    dialogs: list[Dialog] = field(default_factory=list)
    popups: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)
    """Requests for documents that were answered with content."""
    handed_over: bool = False
    """A document's content came and no page was made of it: it is being downloaded."""
    blocked: list[str] = field(default_factory=list)
    blocked_pages: list[str] = field(default_factory=list)
    opening: int = 0
    requests: int = 0
    navigations: int = 0
    stopped: bool = False
    choosers: list[object] = field(default_factory=list)


class PageEvents:
    """Listens to one page, and to the windows it opens."""

    def __init__(
        self,
        page: Page,
        policy: Policy,
        rules: Rules,
        handler: Handler,
    ) -> None:
        self._page = page
        self._policy = policy
        self._rules = rules
        self.record = EventRecord()
        self.popups: list[Page] = []
        self.crashed = False
        self.asking = 0
        """Dialogs that wait for their answer: until then the page answers nothing else."""
        self.masked: Callable[[Confirmation], Confirmation] = lambda question: question
        """Hides secrets in questions."""
        self._pending: set[int] = set()
        self._alive: dict[int, Request] = {}
        self._leaving: set[int] = set()
        self._listeners: list[tuple[Emitter, str, Listener]] = []
        self._handler = handler

    def open(self) -> None:
        """Begin to listen."""
        page, handler = self._page, self._handler
        self._listen(page, "dialog", handler(self._dialog))
        self._listen(page, "popup", handler(self._popup))
        self._listen(page, "download", handler(self._download))
        self._listen(page, "request", self._request)
        self._listen(page, "requestfinished", self._request_done)
        self._listen(page, "requestfailed", self._request_failed)
        self._listen(page, "response", self._response)
        self._listen(page, "framenavigated", self._navigated)
        self._listen(page, "crash", self._crash)

    def close(self) -> None:
        """Stop listening; nothing of ours stays on the page."""
        for emitter, event, listener in self._listeners:
            with suppress(Exception):
                emitter.remove_listener(event, listener)
        self._listeners.clear()

    def begin(self) -> EventRecord:
        """Start a new record, at the beginning of a press."""
        self.record = EventRecord()
        self._pending.clear()
        self._alive.clear()
        return self.record

    @property
    def pending(self) -> int:
        """Requests and windows that began since `begin` and are worth waiting for."""
        windows = max(0, self.record.opening - len(self.record.popups))
        return len(self._pending) + windows

    @property
    def leaving(self) -> bool:
        """Whether the page has asked for another one that has not answered yet."""
        return bool(self._leaving)

    def expect_chooser(self, on: bool) -> None:
        """Catch the file window that the next press opens, or stop catching."""
        if on:
            self._listen(self._page, "filechooser", self._chooser)
            return
        for entry in [e for e in self._listeners if e[1] == "filechooser"]:
            self._page.remove_listener("filechooser", entry[2])
            self._listeners.remove(entry)

    def _listen(self, emitter: Emitter, event: str, listener: Listener) -> None:
        emitter.on(event, listener)
        self._listeners.append((emitter, event, listener))

    def _chooser(self, chooser: object) -> None:
        self.record.choosers.append(chooser)

    def _dialog(self, dialog: PageDialog) -> Steps[None]:
        self.asking += 1
        try:
            answer: bool | str = self._policy.dialogs == "accept"
            if dialog.type != "alert":
                answer = yield from self._asked(dialog)
            accept = answer is True or isinstance(answer, str)
            self.record.dialogs.append(
                Dialog(kind=dialog.type, message=dialog.message[:500], accepted=accept)
            )
            text = (answer,) if isinstance(answer, str) and dialog.type == "prompt" else ()
            # Somebody else's listener may have answered first.
            with suppress(Exception):
                yield from call(dialog, "accept" if accept else "dismiss", *text)
        finally:
            self.asking -= 1

    def _asked(self, dialog: PageDialog) -> Steps[bool | str]:
        """Put a dialog of the page to the policy's callback; no callback, or one that fails, is a no."""
        if self._policy.confirm is None:
            return False
        risks = risks_of("click", Facts(texts=(dialog.message,))) | {"dialog"}
        question = Confirmation(
            verb="answer",
            risks=risks,
            name=dialog.message[:500],
            role=dialog.type,
            query="",
            url=self._page.url,
            detail=dialog.default_value[:500],
        )
        try:
            answer = yield AskUser(self._policy.confirm, (self.masked(question),))
        except Exception:
            return False
        return answer if answer is True or isinstance(answer, str) else False

    def _popup(self, popup: Page) -> Steps[None]:
        self.record.popups.append(popup.url)
        self._listen(popup, "dialog", self._handler(self._dialog))
        if self._policy.popups and self._rules.page(popup.url):
            self.popups.append(popup)
            return
        with suppress(Exception):
            yield from call(popup, "close", timeout_s=CLOSE_TIMEOUT_S)

    def _download(self, download: Download) -> Steps[None]:
        self.record.downloads.append(download.suggested_filename)
        if not self._policy.downloads:
            with suppress(Exception):
                yield from call(download, "cancel", timeout_s=CLOSE_TIMEOUT_S)

    def _request(self, request: Request) -> None:
        self.record.requests += 1
        if request.resource_type in AWAITED:
            # Keyed by identity, and kept alive: a new object must not get a dead one's id.
            self._pending.add(id(request))
            self._alive[id(request)] = request
            with suppress(Exception):  # a window that is just opening has no frame yet
                if request.is_navigation_request() and request.frame == self._page.main_frame:
                    self._leaving.add(id(request))

    def _request_done(self, request: Request) -> None:
        self._pending.discard(id(request))
        self._leaving.discard(id(request))
        self._alive.pop(id(request), None)

    def _response(self, response: Response) -> None:
        if response.request.is_navigation_request() and response.status == 200:
            self.record.answered.add(id(response.request))

    def _request_failed(self, request: Request) -> None:
        self.record.handed_over |= id(request) in self.record.answered
        self._request_done(request)

    def _navigated(self, frame: PageFrame) -> None:
        if frame.parent_frame is None:
            self.record.navigations += 1
            self._leaving.clear()

    def _crash(self, *_: object) -> None:
        self.crashed = True
