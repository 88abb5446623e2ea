"""Whose turn it is: round robin over the places requests come from, at each place over its clients, then their connections."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from molmo_point.service.job import Job


class Turns:
    """Remembers who was served last. A caller that asks one question at a time goes before one that has many waiting.

    A client is known by its name and by its connection: one with many connections and one name has one turn, and so has one with
    one connection and many names.
    """

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._served: dict[tuple[str, ...], int] = {}

    def next(self, jobs: Sequence[Job]) -> Job:
        """Return the job of the place, and there of the client, that was served longest ago.

        Args:
            jobs: At least one, oldest first.
        """
        return min(jobs, key=self._last_served)

    def _last_served(self, job: Job) -> tuple[int, int]:
        """Return when its place, and when its client was served last: by name or by connection, whichever is later.

        So neither a new name for each question nor a new connection for each goes before those who wait.
        """
        place, client, connection = (self._served.get(level, 0) for level in levels(job))
        return place, max(client, connection)

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
    return [(place,), (place, "client", job.caller), (place, "connection", connection)]
