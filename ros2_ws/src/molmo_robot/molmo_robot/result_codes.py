"""The outcome code and the message of errors and answers."""

from __future__ import annotations

from molmo_point.errors import (
    Busy,
    Cancelled,
    ImageError,
    PointError,
    QueryError,
    Superseded,
    TimedOut,
)
from molmo_point.points import Pointing, Status
from molmo_robot.codes import Code
from molmo_robot.errors import RobotError

_CODES: tuple[tuple[type[PointError], Code], ...] = (
    (TimedOut, Code.TIMED_OUT),
    (Busy, Code.BUSY),
    (Superseded, Code.BUSY),
    (Cancelled, Code.CANCELED),
    (QueryError, Code.INVALID_REQUEST),
    (ImageError, Code.INVALID_REQUEST),
)


def code_of(error: PointError) -> Code:
    """Return the outcome code of an error; MODEL_ERROR for everything that is the server's or the model's."""
    if isinstance(error, RobotError):
        return error.code
    return next((code for kind, code in _CODES if isinstance(error, kind)), Code.MODEL_ERROR)


def one_line(error: PointError) -> str:
    """Return an error as one line of text."""
    return " ".join(str(error).split()) or type(error).__name__


def user_message(pointing: Pointing) -> str:
    """Return the message of an answer; empty where its status says all."""
    if pointing.status is Status.TRUNCATED:
        return f"the time or token limit came first; the {pointing.count} points so far are given"
    if pointing.status is Status.PENDING:
        return "there is no answer yet; it says nothing about whether something matches"
    if pointing.status is Status.MALFORMED:
        return "the model's text could not be read as points; raw_text holds it"
    return ""


def best_points(pointing: Pointing, limit: int) -> Pointing:
    """Return an answer cut to its `limit` best points (0: all), in their order; points without a score keep it."""
    if limit < 1 or pointing.count <= limit:
        return pointing
    by_score = sorted(
        pointing.points, key=lambda p: (1.0 if p.score is None else -p.score, p.index)
    )
    kept = sorted(by_score[:limit], key=lambda p: p.index)
    return pointing.replace(points=tuple(kept))
