"""Replies to what a caller gets: points, pieces, answers. All of them raise `ServiceError` for a reply of another kind."""

from __future__ import annotations

from collections import deque

from molmo_point.client.transport import Replies
from molmo_point.errors import PointError, ServiceError
from molmo_point.pointer import PointingStream, PointStream, TextStream, all_or_error
from molmo_point.points import FinishReason, Pointing, Text
from molmo_point.wire import Reply, error_from


def iter_points(replies: Replies) -> PointStream:
    """Yield the points of a stream of replies; return the whole answer."""
    try:
        for reply in replies:
            if reply.last:
                return expect_pointing(reply)
            if reply.point is not None:
                yield reply.point
    finally:
        replies.close()
    raise ServiceError("the stream ended without its last reply")


def iter_pointings(replies: Replies) -> PointingStream:
    """Yield the answers to several queries of one request; return all of them.

    Raises:
        BatchError: Some of the queries failed.
    """
    results: list[Pointing | PointError] = []
    try:
        for reply in replies:
            if reply.last:
                return all_or_error(results)
            if reply.error is not None:
                results.append(error_from(reply.error))
            elif reply.pointing is not None:
                results.append(reply.pointing)
                yield reply.pointing
    finally:
        replies.close()
    raise ServiceError("the stream ended without its last reply")


def iter_text(replies: Replies) -> TextStream:
    """Yield the pieces of a stream of replies; return the whole text."""
    try:
        for reply in replies:
            if reply.last:
                return expect_text(reply)
            yield reply.text or ""
    finally:
        replies.close()
    raise ServiceError("the stream ended without its last reply")


def last_reply(replies: Replies) -> Reply:
    """Run an exchange to its end and return the last reply."""
    reply = next(iter(deque(replies, maxlen=1)), None)
    if reply is None:
        raise ServiceError("the server closed the exchange without a reply")
    return reply


def expect_pointing(reply: Reply) -> Pointing:
    """Return the answer in points that a reply holds."""
    if reply.pointing is None:
        raise ServiceError(f"expected points, the server answered with {reply.type}")
    return reply.pointing


def expect_text(reply: Reply) -> Text:
    """Return the answer in text that a reply holds."""
    # An empty answer is left out of the message like every default.
    if reply.type != "text":
        raise ServiceError(f"expected text, the server answered with {reply.type}")
    return Text(reply.text or "", reply.finish_reason or FinishReason.STOP, reply.timing)
