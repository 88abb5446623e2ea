"""The verbs that go to another page: an address, or the one before."""

from __future__ import annotations

from molmo_agents.browser.page_events import EventRecord
from molmo_agents.drivers.steps import Steps, call
from molmo_agents.outcome import Effects, Outcome, Status
from molmo_agents.progress import OutcomeBuilder, VerbFailed
from molmo_agents.session import Session


def goto(s: Session, p: OutcomeBuilder, url: str, timeout_s: float) -> Steps[Outcome]:
    """Open an address that the policy allows. One resource that never finishes is no failure: `effects.settled` says so."""
    if not s.rules.page(url) or url == "":
        allowed = ", ".join(map(str, s.rules.pages)) or "no origins"
        hint = "" if "://" in url else "; an address begins with http:// or https://"
        raise VerbFailed(
            Status.BLOCKED_ORIGIN,
            f"the policy does not allow {url[:200]}: allowed are {allowed}{hint}",
        )
    if s.policy.dry_run and s.page.url not in ("", "about:blank"):
        return p.outcome(Status.READY, "dry run: the address was not opened")
    s.shared.actions += 1
    record = s.watch.begin()
    limits = {"timeout": timeout_s * 1000, "timeout_s": timeout_s + 2}
    try:
        yield from call(s.page, "goto", url, wait_until="commit", **limits)
    except Exception as error:
        if not record.blocked_pages:
            raise VerbFailed(
                Status.ERROR, f"{url[:200]} did not open: {_why(record, error)}"
            ) from error
    return (yield from _arrived(s, p, record, min(timeout_s, s.options.settle_load_s)))


def back(s: Session, p: OutcomeBuilder, timeout_s: float) -> Steps[Outcome]:
    """Go to the page before in the tab's history, where the policy allows it."""
    if s.policy.dry_run:
        return p.outcome(Status.READY, "dry run: the page was not left")
    s.shared.actions += 1
    record = s.watch.begin()
    before = s.page.url
    limits = {"timeout": timeout_s * 1000, "timeout_s": timeout_s + 2}
    try:
        yield from call(s.page, "go_back", wait_until="commit", **limits)
    except Exception as error:
        if not record.blocked_pages:
            raise VerbFailed(
                Status.ERROR, f"the page before did not open: {_why(record, error)}"
            ) from error
    if not record.navigations and not record.blocked_pages and s.page.url == before:
        return p.outcome(Status.MISSED, "there is no page before this one")
    return (yield from _arrived(s, p, record, min(timeout_s, s.options.settle_load_s)))


def _arrived(s: Session, p: OutcomeBuilder, record: EventRecord, wait_s: float) -> Steps[Outcome]:
    """Wait for the new page's load as long as it may take, and say what came of it."""
    settled = True
    if not record.blocked_pages:
        for state in ("domcontentloaded", "load"):
            try:
                yield from call(
                    s.page,
                    "wait_for_load_state",
                    state,
                    timeout=wait_s * 1000,
                    timeout_s=wait_s + 2,
                )
            except Exception:
                settled = False
                break
    if record.blocked_pages:
        raise VerbFailed(
            Status.BLOCKED_ORIGIN,
            f"it led to {record.blocked_pages[0][:200]}, which the policy does not allow",
        )
    message = "" if settled else "the page is open; something on it is still loading"
    effects = Effects(
        navigated=True, url=s.page.url, dialogs=tuple(record.dialogs), settled=settled
    )
    return p.outcome(Status.DELIVERED, message, delivered=True, effects=effects)


def _why(record: EventRecord, error: Exception) -> str:
    if any(dialog.kind == "beforeunload" for dialog in record.dialogs):
        return (
            "the page asks before it is left (beforeunload), and nobody said yes: "
            'allow the risk "dialog" in the policy\'s confirm callback'
        )
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    if "ERR_SOCKS_CONNECTION" in why:
        # The browser names its own relay, which could not connect.
        return f"no server answers there: start it, or correct the address ({why})"
    return why
