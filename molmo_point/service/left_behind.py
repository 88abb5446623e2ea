"""Threads that are still in somebody's model when the server has stopped: they cannot be joined, and must not spoil the end."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterable

NAME = "molmo-"
"""How the names of the service's threads begin."""


INTERRUPT_S = 1.0
"""How long a thread that is interrupted is waited for."""

INSIDE_TORCH_S = 5.0
"""The same where it may be inside torch: one call there may take seconds, and its forced end is the process's."""


class Stopped(BaseException):
    """Ends a thread of the service in the middle of a Pointer. No `Exception`, so that a Pointer's own `except` lets it pass."""


def interrupt(threads: Iterable[threading.Thread]) -> None:
    """Raise `Stopped` in threads at their next step in Python, and wait for them.

    One that goes on into Python's own end would be ended there by force, and the process with it (SIGABRT) where that is in the
    middle of C++, as of torch. One that is in a long call, such as a wait for a network, does not hear of it before that returns;
    ended by force there it does no harm.

    Args:
        threads: Daemon threads, which nobody needs any more.
    """
    wait_s = INSIDE_TORCH_S if "torch" in sys.modules else INTERRUPT_S
    alive = [thread for thread in threads if thread.is_alive() and thread.ident is not None]
    for thread in alive:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Stopped)
        )
    for thread in alive:
        thread.join(wait_s)


def left_behind() -> bool:
    """Whether a thread of a service is still running in this process."""
    return any(thread.name.startswith(NAME) for thread in threading.enumerate())
