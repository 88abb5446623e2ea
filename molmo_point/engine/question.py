"""What is asked about an image."""

from __future__ import annotations

import time
from dataclasses import dataclass

from molmo_point.arguments import check_query, check_timeout
from molmo_point.pointer import Kind


@dataclass(frozen=True)
class Question:
    """A question whose arguments are checked. Make one with `Question.now`.

    Attributes:
        query: As the caller wrote it.
        kind: What kind of answer is expected.
        started: `time.perf_counter()` at the call, in seconds.
        timeout_s: Budget in seconds from `started`; None = no limit.
        max_new_tokens: Longest answer in tokens; None = the engine's own limit, which holds in any case.
    """

    query: str
    kind: Kind
    started: float
    timeout_s: float | None = None
    max_new_tokens: int | None = None

    @classmethod
    def now(
        cls, query: str, kind: Kind, timeout_s: object = None, max_new_tokens: int | None = None
    ) -> Question:
        """Return a question whose budget starts now.

        Raises:
            QueryError: The query is empty, too long, or not text.
            UsageError: `timeout_s` is not a number of seconds of at least 0.
        """
        started = time.perf_counter()
        check_query(query)
        return cls(query, kind, started, check_timeout(timeout_s), max_new_tokens)

    @property
    def deadline(self) -> float | None:
        """Value of `time.perf_counter()` when the budget ends; None = never."""
        return None if self.timeout_s is None else self.started + self.timeout_s
