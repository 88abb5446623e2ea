"""`molmo-point models`: what can be loaded by name, what it needs, and what is on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from molmo_point.cli.opening import AsJson

if TYPE_CHECKING:
    from molmo_point.model.catalog import CatalogEntry

DTYPES = ("float32", "bfloat16")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(models)


def models(as_json: AsJson = False) -> None:
    """List the models: parameters, memory of the weights, licence, hub name, and whether they are here."""
    from molmo_point.model.catalog import CATALOG

    rows = [_row(entry.sized()) for entry in CATALOG]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    _print(rows)


def _row(entry: CatalogEntry) -> dict[str, Any]:
    folder = entry.folder()
    return {
        "name": entry.name,
        "hub_name": entry.hub_name,
        "parameters": entry.parameters,
        "active_parameters": entry.active_parameters,
        "memory_bytes": {dtype: entry.memory_bytes(dtype) for dtype in DTYPES},
        "licence": entry.licence,
        "folder": None if folder is None else str(folder),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from molmo_point.cli.tables import print_table

    table = Table()
    for title in ("model", "parameters", "active", *DTYPES):
        table.add_column(title, justify="left" if title == "model" else "right", no_wrap=True)
    for title in ("licence", "on the hub", "here"):
        table.add_column(title)
    for row in rows:
        table.add_row(
            row["name"],
            _billions(row["parameters"]),
            _billions(row["active_parameters"]),
            *(_gigabytes(row["memory_bytes"][dtype]) for dtype in DTYPES),
            row["licence"],
            row["hub_name"] or "(in this package)",
            "yes" if row["folder"] else "no",
        )
    print_table(table)


def _billions(number: int) -> str:
    if number <= 0:
        return "?"
    return f"{number / 1e9:.2f} B" if number >= 1e8 else f"{number / 1e6:.1f} M"


def _gigabytes(number: int) -> str:
    if number <= 0:
        return "?"
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.0f} MB"
