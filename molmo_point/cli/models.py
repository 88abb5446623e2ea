"""`molmo-point models`: what can be loaded by name, what it needs, and what is on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molmo_point.cli.model_options import AsJson
from molmo_point.cli.tables import Column, print_rows
from molmo_point.errors import ModelNotFound
from molmo_point.machine_memory import fits

if TYPE_CHECKING:
    from molmo_point.checkpoints.catalog import CatalogEntry

DTYPES = ("float32", "bfloat16")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(models)


def models(
    name: Annotated[
        str | None, typer.Argument(help="Of one model: say what it can be asked.")
    ] = None,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit",
            help="Measure this machine for some seconds; for each model and type: download, memory, whether it fits now, "
            "expected seconds to read an image and to answer one point, on the CPU.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models: hub name, parameters, memory of the weights, licence, whether they fit and are here.

    "fits" names the types whose weights fit into this machine's RAM, with what loading takes on top, not into a GPU's memory.


    \b
    molmo-point models          # all of them
    molmo-point models nano     # what nano knows
    molmo-point models --fit    # what this machine can run, and how fast
    """
    from molmo_point.checkpoints.catalog import CATALOG

    if name is not None:
        _print_capabilities(name, as_json)
        return
    if fit:
        from molmo_point.cli.fit import print_fit

        print_fit(as_json=as_json)
        return
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
        "fits": {dtype: fits(entry.memory_bytes(dtype)) for dtype in DTYPES},
        "folder": None if folder is None else str(folder),
    }


COLUMNS = (
    Column("model"),
    Column("on the hub"),
    Column("parameters", right=True, spare=2),
    Column("active", right=True, spare=4),
    Column("float32", right=True, spare=3),
    Column("bfloat16", right=True),
    Column("licence", spare=1),
    Column("fits"),
    Column("here"),
)


def _print(rows: list[dict[str, Any]]) -> None:
    print_rows(
        COLUMNS,
        [
            (
                row["name"],
                row["hub_name"] or "(in this package)",
                _billions(row["parameters"]),
                _billions(row["active_parameters"]),
                *(_gigabytes(row["memory_bytes"][dtype]) for dtype in DTYPES),
                row["licence"],
                _fitting(row["fits"]),
                "yes" if row["folder"] else "no",
            )
            for row in rows
        ],
    )


def _print_capabilities(name: str, as_json: bool) -> None:
    from molmo_point.capabilities import capabilities_of
    from molmo_point.checkpoints.catalog import CATALOG, find

    entry = find(name)
    if entry is None:
        known = ", ".join(entry.name for entry in CATALOG)
        raise ModelNotFound(f"expected one of {known}, got {name!r}")
    able = capabilities_of(name)
    if as_json:
        fields = able.model_dump(mode="json", exclude={"words"})
        typer.echo(json.dumps({"name": entry.name, **fields}))
        return
    questions = "yes" if able.free_questions else "no, it points and counts only"
    typer.echo(f"{entry.name}\nfree questions: {questions}")
    typer.echo(f"photographs: {'yes' if able.photographs else 'no'}")
    if able.knows:
        typer.echo(f"knows: {able.knows}")
    if able.kinds:
        typer.echo(", ".join(able.kinds))


def _fitting(fits: dict[str, bool | None]) -> str:
    if None in fits.values():
        return "?"
    names = [dtype for dtype, fit in fits.items() if fit]
    return "any type" if len(names) == len(fits) else ", ".join(names) or "no"


def _billions(number: int) -> str:
    if number <= 0:
        return "?"
    return f"{number / 1e9:.2f} B" if number >= 1e8 else f"{number / 1e6:.1f} M"


def _gigabytes(number: int) -> str:
    if number <= 0:
        return "?"
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.0f} MB"
