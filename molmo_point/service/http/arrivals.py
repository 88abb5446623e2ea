"""Bodies that are being received: a server that stops does not wait for the rest of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import anyio


class Arrivals:
    """The bodies under way. Belongs to the event loop's thread.

    Attributes:
        refused: Whether `refuse` was called.
    """

    def __init__(self) -> None:
        self.refused = False
        self._scopes: set[anyio.CancelScope] = set()

    @contextlib.contextmanager
    def during(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Within the block a body is received; `refuse` cancels `scope`."""
        if self.refused:
            scope.cancel()
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)

    def refuse(self) -> None:
        """Stop receiving the bodies under way, and those that begin later."""
        self.refused = True
        for scope in list(self._scopes):
            scope.cancel()
