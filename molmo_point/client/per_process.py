"""Values that belong to one process: after a fork the child makes its own instead of sharing its parent's."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class PerProcess(Generic[Value]):
    """A value that each process makes for itself, at its first use.

    Sockets, connections, locks that another thread holds, and names that a server knows a client by must not be shared: two
    processes would read each other's answers. The parent's value is only dropped in the child, never closed there.

    Args:
        make: Makes the value; in a child with several threads perhaps more than once, of which one is kept.
    """

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._held = (os.getpid(), make())

    def get(self) -> Value:
        """Return this process's value."""
        pid, value = self._held
        if pid != os.getpid():
            value = self._make()
            self._held = (os.getpid(), value)
        return value
