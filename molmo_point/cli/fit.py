"""`molmo-point models --fit`: what each checkpoint would take on this machine's CPU, in each type and scheme."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer

from molmo_point.cli.progress import spinner
from molmo_point.cli.tables import Column, print_rows
from molmo_point.install import import_failure

COLUMNS = (
    Column("model"),
    Column("as"),
    Column("download", right=True, spare=1),
    Column("memory", right=True),
    Column("fits"),
    Column("reads an image", right=True),
    Column("answers one point", right=True),
)


def print_fit(*, as_json: bool) -> None:
    """Measure this machine and print a row for each checkpoint and each kind of weights.

    Raises:
        MissingExtra: Without torch nothing can be measured.
    """
    try:
        import torch
    except (ImportError, OSError) as error:
        raise import_failure(error, "torch", "engine", "Measuring this machine") from error
    from molmo_point.machine_memory import available_bytes
    from molmo_point.model.machine_speed import KINDS, measure_bandwidth, measure_products

    with spinner("measuring this machine", quiet=as_json):
        bandwidth = measure_bandwidth()
        speeds = {kind: measure_products(kind) for kind in KINDS}
    available = available_bytes()
    rows = list(_rows(speeds, available))
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    rates = ", ".join(
        f"{speeds[kind].operations / 1e9:.0f} GFLOP/s in {kind}" for kind in KINDS[:2]
    )
    free = "unknown" if available is None else f"{available / 1e9:.1f} GB"
    typer.echo(
        f"this machine's CPU, {torch.get_num_threads()} threads: reads {bandwidth / 1e9:.0f} GB/s, {rates}; free memory: {free}\n"
        "expected times: as many crops as the model takes, matrix products alone; --detail low saves most of an image's"
    )
    print_rows(COLUMNS, [_cells(row) for row in rows])


def _rows(speeds: dict[str, Any], available: int | None) -> Iterator[dict[str, Any]]:
    from molmo_point.checkpoints.catalog import CATALOG, NANO_FOLDER
    from molmo_point.checkpoints.config import MolmoConfig
    from molmo_point.model.machine_speed import expected_time, types_of
    from molmo_point.model.weight_types import bytes_needed

    for entry in CATALOG:
        config = entry.config or MolmoConfig.from_folder(NANO_FOLDER)
        for kind in speeds:
            needed = bytes_needed(config, *types_of(kind))
            time = expected_time(config, kind, speeds)
            yield {
                "name": entry.name,
                "kind": kind,
                # The published files are float32, whatever is loaded.
                "download_bytes": entry.memory_bytes("float32") if entry.hub_name else 0,
                "memory_bytes": needed,
                "fits": None if available is None else needed <= available,
                "image_s": round(time.image_s, 3),
                "point_s": round(time.point_s, 3),
            }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    fits = {None: "?", True: "yes", False: "no"}[row["fits"]]
    download = row["download_bytes"]
    return (
        row["name"],
        row["kind"],
        f"{download / 1e9:.0f} GB" if download else "none",
        f"{row['memory_bytes'] / 1e9:.1f} GB",
        fits,
        _seconds(row["image_s"]),
        _seconds(row["point_s"]),
    )


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"
