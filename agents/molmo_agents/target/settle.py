"""After a gesture: wait for what it started, each wait with an end, and stop a load that never finishes."""

from __future__ import annotations

import time

from molmo_agents.browser.documents import FrameHop
from molmo_agents.defaults import DOWNLOAD_TIMEOUT_S, FRAMES_TIMEOUT_S
from molmo_agents.drivers.steps import Steps, call, pause
from molmo_agents.session import Session


def settle(s: Session, leaf: FrameHop, *, download: bool = False) -> Steps[bool]:
    """Wait two animation frames, then for requests, a new page or a download that the press started.

    Return whether all of them finished in time.

    Args:
        download: The element pressed is a link that is marked as a download.
    """
    try:
        # A page that waits for another server answers nobody: not as long as it may take for an answer.
        less = min(0.0, FRAMES_TIMEOUT_S - s.options.answer_s)
        yield from s.worlds.run(leaf.world, "() => molmo.frames2(2)", more_s=less)
    except Exception:
        # The document is on its way out; the page's load is waited for below.
        yield from pause(s.page, 0.02)
    record, options = s.watch.record, s.options
    end = time.monotonic() + options.settle_requests_s
    quiet, settled = 0, True
    while s.watch.pending or (quiet < 2 and (record.requests or record.opening)):
        if time.monotonic() > end:
            settled = False
            break
        quiet = 0 if s.watch.pending else quiet + 1
        yield from pause(s.page, 0.02)
    if s.watch.leaving and not record.navigations:
        yield from stop_loading(s)
    if settled and (download or record.handed_over):
        yield from _await_download(s)
    if record.navigations and not s.page.is_closed():
        try:
            yield from call(
                s.page,
                "wait_for_load_state",
                "load",
                timeout=options.settle_load_s * 1000,
                timeout_s=options.settle_load_s + 2,
            )
        except Exception:
            # A page that never finishes loading is still a page; the caller's next look shows what there is.
            return s.page.is_closed()
    return settled


def _await_download(s: Session) -> Steps[None]:
    record, end = s.watch.record, time.monotonic() + DOWNLOAD_TIMEOUT_S
    while time.monotonic() < end:
        if record.downloads or record.navigations or record.blocked or record.stopped:
            return
        yield from pause(s.page, 0.02)


def stop_loading(s: Session) -> Steps[None]:
    """Stop loading from a server that does not answer: until then the browser delays every command to the page."""
    end = time.monotonic() + s.options.settle_requests_s
    while s.watch.leaving and time.monotonic() < end:
        yield from pause(s.page, 0.02)
    if not s.watch.leaving:
        return
    s.watch.record.stopped = True
    try:
        yield from s.worlds.send(s.worlds.session, "Page.stopLoading")
    except Exception:
        # The page is gone, or has just arrived after all.
        return
