"""Whose turn it is: round robin over the places requests come from, and at each place over its connections."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from molmo_point.service.job import Job


class Turns:
    """Remembers who was served last. A caller that asks one question at a time goes before one that has many waiting."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._served: dict[tuple[str, ...], int] = {}

    def next(self, jobs: Sequence[Job]) -> Job:
        """Return the job of the place, and there of the connection, that was served longest ago; its oldest one.

        Args:
            jobs: At least one, oldest first.
        """
        return min(jobs, key=lambda job: (self._last(job.turn[:1]), self._last(job.turn)))

    def taken(self, job: Job, waiting: Sequence[Job]) -> None:
        """Note that `job` has had its turn. A client with nothing waiting is forgotten, and comes first when it asks again."""
        number = next(self._count)
        place, turn = job.turn[:1], job.turn
        if not waiting:
            self._served = {place: number, turn: number}
            return
        self._served[place] = self._served[turn] = number
        present: set[tuple[str, ...]] = {place, turn}
        for other in waiting:
            present.update((other.turn[:1], other.turn))
        self._served = {key: value for key, value in self._served.items() if key in present}

    def _last(self, key: tuple[str, ...]) -> int:
        return self._served.get(key, 0)
