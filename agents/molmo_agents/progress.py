"""How far one verb has come, what it is about, and how it ends early."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Union

from molmo_agents.lines import Place
from molmo_agents.outcome import Outcome, Status
from molmo_agents.playwright_types import Json
from molmo_point.points import Point

Query = Union[str, Point]
"""A few words for the model, or a point (0-1 of the viewport) that the caller already has."""


class VerbFailed(Exception):
    """Why a verb ends here."""

    def __init__(self, status: Status, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = fields


@dataclass
class OutcomeBuilder:
    """What is known so far about one verb, so that an outcome can say it however the verb ends.

    `place` is where it acts, for its line of Playwright; `token` tells this verb's looks from those of other ones;
    `calibrated` says whether the model's latest scores are.
    """

    verb: str
    query: str
    fields: Json = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    attempts: int = 0
    calibrated: bool = False
    place: Place = field(default_factory=lambda: Place("", 0.0, 0.0))
    token: str = field(default_factory=lambda: f"{time.perf_counter_ns()}")

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of the block to `timings[phase]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.timings[phase] = self.timings.get(phase, 0.0) + spent

    def outcome(self, status: Status, message: str = "", **fields: Any) -> Outcome:
        """Make the outcome."""
        known = {**self.fields, **fields}
        return Outcome(
            verb=self.verb,
            query=self.query,
            status=status,
            message=message,
            attempts=self.attempts,
            timings=self.timings,
            **known,
        )


def describe_query(query: Query) -> str:
    """The query as it is reported."""
    if isinstance(query, Point):
        return f"point ({query.x:.4f}, {query.y:.4f})"
    return query
