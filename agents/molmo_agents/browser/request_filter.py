"""The policy's addresses, enforced at the browser's network layer, out of a page's reach.

The lowest layer is the relay that the browser's connections go through (`reach`, `relay`): it holds whatever starts a
connection, but knows hosts only. Above it two layers tell pages from resources and say what was refused. Two, because each
has a gap. Playwright's routing sees the first request of every frame, window and worker of our context without a race, but not
where a redirect leads. The browser-wide `Fetch` domain of CDP sees every hop of every
request, but of every context in the browser, and does not say which: requests of other people's pages are let through.
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress

from molmo_agents.browser.cdp import IsolatedWorlds
from molmo_agents.browser.page_events import PageEvents
from molmo_agents.browser.reach import Reach
from molmo_agents.browser.restraint import RESTRAINED, concerns, restrain, restrained
from molmo_agents.defaults import DETACH_TIMEOUT_S
from molmo_agents.drivers.steps import Handler, Steps, call
from molmo_agents.errors import PageUnusable
from molmo_agents.playwright_types import CdpSession, Json, Page, Request, Route, Socket
from molmo_agents.policy import Rules

_EVERYTHING = re.compile(".*")


class RequestFilter:
    """Refuses the requests of one browser context that the policy does not allow."""

    def __init__(
        self, page: Page, rules: Rules, watch: PageEvents, worlds: IsolatedWorlds, handler: Handler
    ) -> None:
        self._page = page
        self._rules = rules
        self._watch = watch
        self._worlds = worlds
        self._make = handler
        self._route = handler(self._on_route)
        self._session: CdpSession | None = None
        self._contexts: dict[str, str] = {}
        self._pages: set[str] = set()
        self._ours = ""
        self._own_target = ""
        self._opened: set[str] = set()
        self.total_blocked = 0
        self._closed = False
        self._reach = Reach(page, rules)

    def open(self) -> Steps[None]:
        """Begin to refuse."""
        self._closed = False
        context = self._page.context
        yield from self._reach.open(self._worlds.session)
        if self._rules.closed_network and self.unheld:
            raise PageUnusable(f"the policy asks for a closed network: {self.unheld}")
        yield from call(context, "route", _EVERYTHING, self._route)
        if hasattr(context, "route_web_socket"):
            yield from call(context, "route_web_socket", _EVERYTHING, self._on_socket)
        browser = context.browser
        if browser is None:
            # A persistent context has no browser object: the page's own session has to do.
            session: CdpSession = yield from call(context, "new_cdp_session", self._page)
        else:
            session = yield from call(browser, "new_browser_cdp_session")
            session.on("Target.targetCreated", self._target)
            session.on("Target.targetInfoChanged", self._target)
        self._session = session
        if browser is not None:
            yield from self._send("Target.setDiscoverTargets", discover=True)
        own = yield from self._worlds.send(self._worlds.session, "Target.getTargetInfo")
        self._target(own)
        self._ours = own["targetInfo"].get("browserContextId", "")
        self._own_target = own["targetInfo"]["targetId"]
        session.on("Fetch.requestPaused", self._make(self._on_paused))
        patterns = [{"urlPattern": "*"}]
        if self.unheld:
            patterns += [{"urlPattern": "*", **kind} for kind in RESTRAINED]
            yield from restrain(self._worlds)
        yield from self._send("Fetch.enable", patterns=patterns)

    @property
    def unheld(self) -> str:
        """Why connections that the browser makes beneath the page are not held, or ""."""
        return self._reach.unheld

    def close(self) -> Steps[None]:
        """Stop refusing requests. Routes of WebSockets cannot be removed: they let everything through from now on."""
        self._closed = True
        self._reach.close()
        with suppress(Exception):
            yield from call(self._page.context, "unroute", _EVERYTHING, self._route)
        if self._session is not None:
            with suppress(Exception):
                yield from self._send("Fetch.disable")
            with suppress(Exception):
                yield from call(self._session, "detach", timeout_s=DETACH_TIMEOUT_S)
            self._session = None

    def _send(self, method: str, **params: object) -> Steps[Json]:
        return (yield from call(self._session, "send", method, params))

    def _target(self, event: Json) -> None:
        info = event["targetInfo"]
        self._contexts[info["targetId"]] = info.get("browserContextId", "")
        if info["type"] != "page" or info["targetId"] in self._pages:
            return
        self._pages.add(info["targetId"])
        if self._ours and info.get("openerId") in self._pages and self._concerns(info["targetId"]):
            # Playwright announces a window only once it is ready; by then the press would look as if it had none.
            self._watch.record.opening += 1
            self._opened.add(info["targetId"])

    def _refused(self, url: str, top: bool, kind: str) -> bool:
        if self._rules.page(url) if top else self._rules.resource(url):
            return False
        self.total_blocked += 1
        entry = f"{kind} {url}"
        record = self._watch.record
        if entry not in record.blocked:
            record.blocked.append(entry)
        if top and url not in record.blocked_pages:
            record.blocked_pages.append(url)
        return True

    def _on_route(self, route: Route) -> Steps[None]:
        request = route.request
        top = bool(request.is_navigation_request()) and _top_level(request)
        with suppress(Exception):
            if self._refused(request.url, top, "page" if top else request.resource_type):
                # "aborted" leaves the page where it is; any other reason puts an error page in its place.
                yield from call(route, "abort", "aborted" if top else "blockedbyclient")
                if top and not self._is_own_page(request):
                    yield from self._close_empty()
            else:
                yield from call(route, "fallback")

    def _on_socket(self, socket: Socket) -> None:
        if not self._closed and self._refused(socket.url, False, "websocket"):
            # Not connected to the server: the page talks to nobody.
            return
        socket.connect_to_server()

    def _on_answered(self, event: Json) -> Steps[None]:
        """Give a document or script of ours the response headers under which it may make no connection of its own."""
        own = {"requestId": event["requestId"]}
        status = event.get("responseStatusCode", 0)
        final = bool(status) and not 300 <= status < 400
        given = event.get("responseHeaders", [])
        with suppress(Exception):
            ours = final and self._concerns(event.get("frameId", ""))
            if ours and concerns(event.get("resourceType", ""), given):
                # Headers changed by continueResponse come too late for the browser: it has read the policy in them by then.
                got = yield from self._send("Fetch.getResponseBody", **own)
                body = got["body"]
                if not got["base64Encoded"]:
                    body = base64.b64encode(body.encode()).decode()
                headers = restrained(given, self._rules)
                yield from self._send(
                    "Fetch.fulfillRequest",
                    responseCode=status,
                    responseHeaders=headers,
                    body=body,
                    **own,
                )
                return
        with suppress(Exception):
            yield from self._send("Fetch.continueResponse", **own)

    def _on_paused(self, event: Json) -> Steps[None]:
        if "responseStatusCode" in event or "responseErrorReason" in event:
            yield from self._on_answered(event)
            return
        frame, url = event.get("frameId", ""), event["request"]["url"]
        document = event.get("resourceType") == "Document"
        if document and frame not in self._pages:
            with suppress(Exception):
                if self._page.context.browser is not None:
                    # A window may ask for its page before its target was announced.
                    for info in (yield from self._send("Target.getTargets"))["targetInfos"]:
                        self._target({"targetInfo": info})
                # And a frame before it was heard of. One that is found nowhere is judged as a page: that is the stricter rule.
                if frame not in self._contexts:
                    yield from self._worlds.find(frame)
        top = document and (frame in self._pages or not self._known(frame))
        with suppress(Exception):
            if self._concerns(frame) and self._refused(
                url, top, "page" if top else event.get("resourceType", "request").lower()
            ):
                reason = "Aborted" if top else "BlockedByClient"
                yield from self._send(
                    "Fetch.failRequest", requestId=event["requestId"], errorReason=reason
                )
                if top and frame != self._own_target:
                    yield from self._close_empty()
            else:
                yield from self._send("Fetch.continueRequest", requestId=event["requestId"])

    def _is_own_page(self, request: Request) -> bool:
        try:
            return bool(request.frame.page == self._page)
        except Exception:  # a window that is just opening has no frame yet
            return False

    def _close_empty(self) -> Steps[None]:
        """Close the windows that opened for a page they may not have; Playwright never announces those."""
        for info in (yield from self._send("Target.getTargets"))["targetInfos"]:
            if info["targetId"] in self._opened and info["url"] in ("", "about:blank"):
                self._opened.discard(info["targetId"])
                record = self._watch.record
                record.opening = max(0, record.opening - 1)
                with suppress(Exception):
                    yield from self._send("Target.closeTarget", targetId=info["targetId"])

    def _known(self, frame: str) -> bool:
        return frame in self._contexts or self._worlds.has(frame)

    def _concerns(self, frame: str) -> bool:
        """Whether a request is one of our context's, as far as the browser says."""
        if self._worlds.has(frame):
            return True
        if frame in self._contexts:
            return self._contexts[frame] == self._ours
        context = self._page.context
        # A pointer that was never closed outlives its context: what is asked in another one then is not its business.
        return context.browser is None or all(one == context for one in context.browser.contexts)


def _top_level(request: Request) -> bool:
    try:
        return request.frame.parent_frame is None
    except Exception:  # a window that is just opening has no frame yet
        return True
