"""The options that put a model on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.cli.progress import spinner
from molmo_point.errors import UsageError
from molmo_point.install import import_failure

if TYPE_CHECKING:
    from molmo_point.cli.model_options import ModelSelection
    from molmo_point.cluster.pointer import RayPointer

PANEL = "Ray cluster"

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Answer with replicas of the model on a Ray cluster: HOST:PORT of its head, auto for this machine's, "
        "local for one of this machine alone.",
        rich_help_panel=PANEL,
    ),
]
Replicas = Annotated[
    str | None,
    typer.Option(
        metavar="N|MIN-MAX",
        help="Replicas of the model; a range grows and shrinks with the questions under way. Default: 1.",
        rich_help_panel=PANEL,
    ),
]
Gpus = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="GPUs of each replica; 0.5: two share one. Default: 1 with --device cuda, else 0.",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class Cluster:
    """The options as they were given; `ray` None: no cluster."""

    ray: str | None = None
    replicas: str | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.ray is None and (self.replicas is not None or self.gpus is not None):
            raise UsageError(
                "--replicas and --gpus are of a Ray cluster: add --ray ADDRESS (--ray local for this machine)"
            )

    def range(self) -> tuple[int, int]:
        """Return (fewest, most) replicas."""
        words = (self.replicas or "1").split("-")
        if len(words) > 2 or not all(word.isascii() and word.isdigit() for word in words):
            raise UsageError(f"expected --replicas as N or MIN-MAX, got {self.replicas!r}")
        return int(words[0]), int(words[-1])

    def start(
        self, where: ModelSelection, *, max_batch: int = 8, name: str | None = None
    ) -> RayPointer:
        """Start the replicas.

        Args:
            max_batch: Questions that a replica answers together.
            name: Of the application on the cluster; None = one of its own, removed at the end.

        Raises:
            UsageError: Together with --connect.
            MissingExtra: Ray is not installed.
            ServiceError: No cluster at the address, or no replica could be started.
        """
        if where.connect is not None:
            raise UsageError("--ray starts replicas, --connect asks a server: leave one out")
        fewest, most = self.range()
        try:
            from molmo_point.cluster.pointer import ClusterOptions, RayPointer
            from molmo_point.cluster.replica import Load
        except ImportError as error:
            raise import_failure(error, "ray", "ray", "a model on a Ray cluster") from error
        load = Load(where.model or "nano", where.load_options(), max_batch)
        assert self.ray is not None
        return RayPointer(
            ClusterOptions(self.ray, (fewest, most), gpus=self.gpus, load=load, name=name)
        )

    @contextmanager
    def open(self, where: ModelSelection, *, quiet: bool) -> Iterator[RayPointer]:
        """Start the replicas under a spinner; remove them at the end. Raises as `start`."""
        with spinner(f"starting replicas on Ray ({self.ray})", quiet=quiet):
            pointer = self.start(where)
        try:
            yield pointer
        finally:
            pointer.close()
