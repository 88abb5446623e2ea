"""Response headers that make the browser itself refuse connections, for browsers that were started without a relay.

A Content-Security-Policy is inherited by what a document makes of its own words: blob: and data: workers, srcdoc and sandboxed
frames. So it reaches what request interception does not see. Speculation rules are no connection of the document's, and are
taken out of it instead.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import resources

from molmo_agents.browser.cdp import IsolatedWorlds
from molmo_agents.drivers.steps import Steps
from molmo_agents.playwright_types import Json
from molmo_agents.policy import Rules

RESTRAINED = tuple(
    {"requestStage": "Response", "resourceType": kind} for kind in ("Document", "Script", "Other")
)
"""Responses whose headers are changed: documents, and the scripts of workers, which answer to their own headers."""

_SCRIPT = frozenset(["text/javascript", "application/javascript", "application/x-javascript"])

_DROPPED = frozenset(
    ["reporting-endpoints", "report-to", "nel", "link", "speculation-rules", "no-vary-search"]
)
"""Headers that make the browser send or fetch on its own. What a `Link` header preloads, the page loads when it needs it."""


def restrain(worlds: IsolatedWorlds) -> Steps[None]:
    """Keep the page from prefetching and prerendering on its own, as far as its documents can be kept from it."""
    source = (resources.files("molmo_agents") / "probe" / "quiet.js").read_text("utf-8")
    with suppress(Exception):
        yield from worlds.send(
            worlds.session,
            "Page.addScriptToEvaluateOnNewDocument",
            source=source,
            worldName="molmo-quiet",
        )
        yield from worlds.send(worlds.session, "Page.setPrerenderingAllowed", isAllowed=False)


def concerns(kind: str, headers: list[Json]) -> bool:
    """Whether a response may become a document or a worker: no download, and of other resources scripts only."""
    given = {header["name"].lower(): header["value"].lower() for header in headers}
    if given.get("content-disposition", "").startswith("attachment"):
        return False
    return kind != "Other" or given.get("content-type", "").split(";")[0].strip() in _SCRIPT


def restrained(headers: list[Json], rules: Rules) -> list[Json]:
    """Return response headers with the policy's addresses as a Content-Security-Policy, beside the server's own."""
    kept = [header for header in headers if header["name"].lower() not in _DROPPED]
    return [*kept, {"name": "Content-Security-Policy", "value": content_policy(rules)}]


def content_policy(rules: Rules) -> str:
    """Return the directives: connections to the allowed origins only, and no WebRTC.

    >>> content_policy(Rules.of(Policy(origins=("https://example.com",))))
    "connect-src data: blob: https://example.com wss://example.com; webrtc 'block'"
    """
    if rules.any_resource:
        sources = ["http:", "https:", "ws:", "wss:"]
    else:
        sources = [str(origin) for origin in rules.resources]
        sources += [origin.replace("http", "ws", 1) for origin in sources]
    return f"connect-src data: blob: {' '.join(sources)}; webrtc 'block'"
