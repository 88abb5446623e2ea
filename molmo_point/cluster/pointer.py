"""`RayPointer`: replicas of a model on a Ray cluster as one Pointer."""

from __future__ import annotations

import contextlib
import socket
import uuid
from dataclasses import dataclass, field

import ray
from ray import serve
from ray.serve.config import AutoscalingConfig

from molmo_point.client.remote import RemotePointer
from molmo_point.cluster.replica import Load, Replica
from molmo_point.cluster.transport import RayTransport
from molmo_point.defaults import CONNECT_TIMEOUT_S
from molmo_point.errors import ServerGone, ServiceError, UsageError

HERE = "local"
"""In place of an address: a cluster of this machine alone, for the time of the command."""

ANSWER_TIMEOUT_S = 300.0
"""Budget of a call that brings none of its own: time enough for a replica that died to be replaced."""

START_TIMEOUT_S = 600.0
"""How long the first replica may take to load its model, download included."""


@dataclass(frozen=True)
class ClusterOptions:
    """What runs where.

    Attributes:
        address: HOST:PORT of the cluster's head, ray://HOST:PORT, "auto" for the one this machine belongs to, or `HERE`.
        replicas: (fewest, most). In between Ray adds one when the questions under way are more than `load.max_batch` for each
            replica, and removes one that has little to do.
        gpus: Of each replica; a fraction shares a GPU. None = 1 where the device is CUDA, else 0.
        cpus: Of each replica.
        load: The model.
        name: Of the Ray Serve application; None = one of its own, removed when the pointer is closed.
    """

    address: str = HERE
    replicas: tuple[int, int] = (1, 1)
    gpus: float | None = None
    cpus: float = 1.0
    load: Load = field(default_factory=Load)
    name: str | None = None

    def __post_init__(self) -> None:
        fewest, most = self.replicas
        if not 1 <= fewest <= most:
            raise UsageError(f"expected replicas as 1 <= fewest <= most, got {fewest} to {most}")
        if self.cpus <= 0 or (self.gpus is not None and self.gpus < 0):
            raise UsageError(
                f"expected cpus above 0 and gpus of 0 or more for each replica, got {self.cpus} and {self.gpus}"
            )


class RayPointer(RemotePointer):
    """Replicas of a model on a Ray cluster. Safe to use from several threads.

    Args:
        options: What runs where.
        timeout_s: Budget of each call that brings none of its own, seconds.

    Attributes:
        concurrency: Questions that the replicas answer at once.

    Raises:
        ServerGone: No cluster at the address, or no replica could be started.
    """

    def __init__(self, options: ClusterOptions, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._name = options.name or f"molmo-point-{uuid.uuid4().hex[:8]}"
        self._removes = options.name is None
        self._began_ray = connect_cluster(options.address)
        self.concurrency = options.replicas[1] * options.load.max_batch
        try:
            handle = _start(options, self._name)
            super().__init__(
                RayTransport(handle, f"{self._name} on Ray"),
                timeout_s=timeout_s,
                connect_timeout_s=START_TIMEOUT_S,
            )
        except BaseException:
            self._leave()
            raise

    def close(self) -> None:
        """Close; an application that has no name of its own is removed from the cluster."""
        super().close()
        self._leave()

    def _leave(self) -> None:
        if self._removes and ray.is_initialized():
            # The cluster may be gone already.
            with contextlib.suppress(Exception):
                serve.delete(self._name)
        self._removes = False
        if self._began_ray:
            self._began_ray = False
            ray.shutdown()


def connect_cluster(address: str) -> bool:
    """Join a cluster; return whether this process did so now.

    Raises:
        ServerGone: Nobody answers there.
    """
    if ray.is_initialized():
        return False
    where = {} if address == HERE else {"address": address}
    try:
        check_reachable(address)
        ray.init(**where, log_to_driver=False, include_dashboard=False if not where else None)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ServerGone(
            f"no Ray cluster answers at {address} ({reason}): start one with `ray start --head`, and give its address"
        ) from error
    return True


def check_reachable(address: str) -> None:
    """Connect to HOST:PORT and hang up: Ray itself tries for minutes before it says that nobody is there.

    Raises:
        ConnectionError: Nobody listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(str(error)) from error


def _start(options: ClusterOptions, name: str) -> serve.handle.DeploymentHandle:
    """Start the application and wait for its first replica."""
    gpus = options.gpus
    if gpus is None:
        gpus = float(str(options.load.options.get("device")).startswith("cuda"))
    fewest, most = options.replicas
    room = options.load.max_batch
    # Further questions wait in the client's queue, from where another replica can take them.
    limits = {"max_ongoing_requests": 2 * room, "max_queued_requests": -1}
    if fewest < most:
        scale = AutoscalingConfig(
            min_replicas=fewest, max_replicas=most, target_ongoing_requests=room
        )
        deployment = serve.deployment(Replica, autoscaling_config=scale, **limits)
    else:
        deployment = serve.deployment(Replica, num_replicas=fewest, **limits)
    deployment = deployment.options(
        name="model", ray_actor_options={"num_cpus": options.cpus, "num_gpus": gpus}
    )
    # Ray's own web server stays off: the doors of molmo-point are in front.
    serve.start(http_options={"location": "NoServer"})
    try:
        return serve.run(deployment.bind(options.load), name=name, route_prefix=None)
    except (RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ServiceError(
            f"no replica could be started: {_cause(error)}; `serve status` says more"
        ) from error


def _cause(error: BaseException) -> str:
    """Return the last line of an error: Ray puts a whole traceback into the text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
