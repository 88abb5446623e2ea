"""Whose turn it is: round robin over the places requests come from, at each place over its clients, then their connections."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from molmo_point.service.job import Job


class Turns:
    """Remembers who was served last. A caller that asks one question at a time goes before one that has many waiting.

    A client with many connections has one turn at its place, as long as it gives one name. The name is its own word: one that
    gives others counts as several clients, as one with many connections would without names, and never gets more than that.
    """

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._served: dict[tuple[str, ...], int] = {}

    def next(self, jobs: Sequence[Job]) -> Job:
        """Return the job of the place, there of the client, and there of the connection, that was served longest ago.

        Args:
            jobs: At least one, oldest first.
        """
        return min(jobs, key=lambda job: [self._served.get(level, 0) for level in levels(job)])

    def taken(self, job: Job, waiting: Sequence[Job]) -> None:
        """Note that `job` has had its turn. A client with nothing waiting is forgotten, and comes first when it asks again."""
        number = next(self._count)
        if not waiting:
            self._served = dict.fromkeys(levels(job), number)
            return
        self._served.update(dict.fromkeys(levels(job), number))
        present = {level for other in [job, *waiting] for level in levels(other)}
        self._served = {key: value for key, value in self._served.items() if key in present}


def levels(job: Job) -> list[tuple[str, ...]]:
    """Return what a job's turn counts for: its place, its client there, and the client's connection."""
    place, connection = job.turn
    return [(place,), (place, job.caller), (place, job.caller, connection)]
