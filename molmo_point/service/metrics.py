"""What the server counts, for Prometheus. One registry a server: two servers in one process do not share counters."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from molmo_point.errors import PointError
from molmo_point.service.job import Job
from molmo_point.wire import Reply

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters and histograms of one server.

    Args:
        waiting: Returns how many questions wait now.
        ready: Returns whether questions are answered now.
    """

    def __init__(self, waiting: Callable[[], int], ready: Callable[[], bool]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "molmo_point_requests",
            "Finished requests, by how they ended: an answer's status, or an error's kind.",
            ["op", "transport", "outcome"],
            registry=self.registry,
        )
        self._refused = Counter(
            "molmo_point_refused",
            "Messages refused before they became requests, by the error's kind.",
            ["transport", "kind"],
            registry=self.registry,
        )
        self._repeated = Counter(
            "molmo_point_repeated",
            "Requests whose id was known already, answered from memory.",
            ["transport"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "molmo_point_seconds",
            "Seconds from a request's arrival to its last reply.",
            ["op"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._batch = Histogram(
            "molmo_point_batch_size",
            "Questions answered together.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self._published = Counter(
            "molmo_point_published", "Messages sent to subscribers.", registry=self.registry
        )
        # Looking a child up by its labels takes longer than counting.
        self._children = functools.lru_cache(maxsize=256)(self._find_children)
        Gauge(
            "molmo_point_waiting", "Questions that wait now.", registry=self.registry
        ).set_function(lambda: float(waiting()))
        Gauge(
            "molmo_point_ready", "1 when questions are answered now.", registry=self.registry
        ).set_function(lambda: float(ready()))

    def finished(self, job: Job, reply: Reply) -> None:
        """Count a finished job."""
        op = job.request.op.value
        requests, seconds = self._children(op, job.transport, _outcome(reply))
        requests.inc()
        seconds.observe(_elapsed(job))

    def _find_children(self, op: str, transport: str, outcome: str) -> tuple[Counter, Histogram]:
        return self._requests.labels(op, transport, outcome), self._seconds.labels(op)

    def refused(self, transport: str, error: PointError) -> None:
        """Count a message that was refused at the door."""
        self._refused.labels(transport, error.kind).inc()

    def repeated(self, transport: str) -> None:
        """Count a request whose id was known already."""
        self._repeated.labels(transport).inc()

    def batch(self, size: int) -> None:
        """Count a batch."""
        self._batch.observe(size)

    def published(self) -> None:
        """Count a publication."""
        self._published.inc()

    def value(self, name: str, **labels: str) -> float:
        """Return one sample, 0.0 where nothing was counted yet."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


def _outcome(reply: Reply) -> str:
    if reply.error is not None:
        return reply.error.kind
    if reply.pointing is not None:
        return str(reply.pointing.status)
    return reply.type


def _elapsed(job: Job) -> float:
    return max(0.0, time.monotonic() - job.arrived)
