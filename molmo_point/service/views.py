"""Opened images that the server keeps for its callers, each under a handle that cannot be guessed."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from molmo_point.pointer import View
from molmo_point.service.job import Job
from molmo_point.service.own_pointer import OwnPointer
from molmo_point.wire import Op, ViewGone, ViewInfo

log = logging.getLogger(__name__)


@dataclass
class _Held:
    view: View
    used: float


class Views:
    """The opened images, least recently used first. Safe to use from several threads.

    Args:
        most: How many are kept; the least recently used one makes room.
        idle_s: Seconds after which one without questions is closed.
    """

    def __init__(self, most: int, idle_s: float) -> None:
        self._most = most
        self._idle_s = idle_s
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def make_room(self) -> None:
        """Close the least recently used views until one more fits: before opening, while its memory is still free."""
        while (held := self._oldest()) is not None:
            _close(held)

    def add(self, view: View) -> ViewInfo:
        """Keep a view; return its handle and size."""
        handle = secrets.token_urlsafe(16)
        with self._lock:
            self._held[handle] = _Held(view, time.monotonic())
        return ViewInfo(handle=handle, image_size=view.image_size)

    def get(self, handle: str) -> View:
        """Return an opened view.

        Raises:
            ViewGone: It was closed, made room for another one, or never was.
        """
        with self._lock:
            held = self._held.get(handle)
            if held is None:
                raise ViewGone("that opened image is no longer held")
            held.used = time.monotonic()
            self._held.move_to_end(handle)
            return held.view

    def close(self, handle: str) -> None:
        """Close a view; closing one that is gone is allowed."""
        with self._lock:
            held = self._held.pop(handle, None)
        if held is not None:
            _close(held)

    def sweep(self, *, everything: bool = False) -> None:
        """Close those that were idle for too long, or all of them."""
        oldest = time.monotonic() - self._idle_s
        with self._lock:
            left = [h for h, held in self._held.items() if everything or held.used < oldest]
            views = [self._held.pop(handle) for handle in left]
        for held in views:
            _close(held)

    def _oldest(self) -> _Held | None:
        """Take out the least recently used view where one more does not fit."""
        with self._lock:
            return self._held.popitem(last=False)[1] if len(self._held) >= self._most else None


def _close(held: _Held) -> None:
    # Not under the lock: a view elsewhere is told over a network.
    try:
        held.view.close()
    except Exception:
        # One view that cannot be closed must not keep the others open.
        log.exception("closing an opened image failed")


def answer_view_request(pointer: OwnPointer, views: Views, job: Job) -> bool:
    """Open or close a view; return False for a job that asks for neither."""
    request = job.request
    if request.op is Op.CLOSE:
        close_view(views, job)
        return True
    if request.op is not Op.OPEN:
        return False
    image = job.image()
    if image is None:  # cancelled just now
        return True
    views.make_room()
    keep_view(views, pointer.open(image), job)
    return True


def close_view(views: Views, job: Job) -> None:
    """Close the view that a job names."""
    views.close(job.request.view or "")
    job.done()


def keep_view(views: Views, view: View, job: Job) -> None:
    """Keep a view, and answer the job that wanted it opened."""
    views.make_room()
    info = views.add(view)
    job.view(info)
    if job.cancelled:
        # Nobody learns its handle.
        views.close(info.handle)
