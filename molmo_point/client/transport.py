"""What a client needs from a transport: send a request, hear its replies."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from molmo_point.arguments import check_timeout
from molmo_point.client.cancellation import CancelToken
from molmo_point.errors import ServerGone, UsageError
from molmo_point.wire import Payload, Reply, Request, ServerInfo

Replies = Generator[Reply, None, None]


def check_gone_after(gone_after_s: object) -> float:
    """Return how long a silent server is waited for, in seconds.

    Raises:
        UsageError: Not a number above 0 s.
    """
    return check_wait(gone_after_s, "gone_after_s")


def check_wait(wait_s: object, name: str) -> float:
    """Return a time that must end, in seconds.

    Raises:
        UsageError: Not a number above 0 s.
    """
    try:
        seconds = check_timeout(wait_s)
    except UsageError:
        seconds = None
    if not seconds:
        raise UsageError(f"expected {name} above 0 s, got {wait_s!r}")
    return seconds


def next_server_missing(url: str, silence_s: float, last_words: str) -> ServerGone:
    """Return the error for a server that said it stops, where no other has taken its place in time.

    Args:
        url: Where it was.
        silence_s: Seconds since it said so.
        last_words: What it said.
    """
    return ServerGone(
        f"nobody answers at {url} any more ({silence_s:.1f} s): its last words were {last_words!r}, and no other server "
        "has come up there; start it again, or give the call a longer timeout"
    )


class Transport(Protocol):
    """A connection to a server. May be used from several threads at once."""

    @property
    def url(self) -> str:
        """Where the server is, for messages."""

    def exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancel_token: CancelToken | None = None,
    ) -> Replies:
        """Send a request and yield its replies in order, each once, up to the last one.

        A server that is restarted meanwhile is asked again with the same id. Closing the generator cancels the request, and so
        does `cancel_token` from any thread.

        Raises:
            Cancelled: It was cancelled through `cancel_token`; over some transports the error reply `cancelled` comes instead.
            ServerGone: Nobody answers.
            Refused: The server does not let this client in.
            TimedOut: The last reply did not come in time.
            VersionMismatch: The server speaks another version of the protocol.
        """

    def hello(self, timeout_s: float) -> ServerInfo:
        """Ask the server what it is; raises as `exchange`."""

    def close(self) -> None:
        """Free the connections. Closing twice is allowed."""
