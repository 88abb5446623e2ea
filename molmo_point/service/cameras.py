"""Which client owns a camera's name, and may publish under it; a name that is not used becomes free."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable


class Cameras:
    """The owners of the cameras' names. From any thread.

    Args:
        idle_s: Seconds after which a name that its owner has not used is free again.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._owners: dict[str, tuple[Hashable, float]] = {}
        self._lock = threading.Lock()

    def claim(self, camera: str, owner: Hashable, keep_s: float | None = None) -> bool:
        """Use a name, and own it if it is free; return whether `owner` owns it.

        Args:
            camera: The name.
            owner: Who uses it.
            keep_s: Seconds of silence after which it is free again; by default `idle_s`.
        """
        now = time.monotonic()
        with self._lock:
            known = self._owners.get(camera)
            if known is not None and known[0] != owner and now < known[1]:
                return False
            until = now + (self._idle_s if keep_s is None else keep_s)
            if known is not None and known[0] == owner:
                until = max(until, known[1])
            self._owners[camera] = (owner, until)
            for name in [name for name, (_, end) in self._owners.items() if end < now]:
                del self._owners[name]
            return True

    def release(self, camera: str, owner: Hashable) -> None:
        """Free a name, if it is the owner's."""
        with self._lock:
            known = self._owners.get(camera)
            if known is not None and known[0] == owner:
                del self._owners[camera]
