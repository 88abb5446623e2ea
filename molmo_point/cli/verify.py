"""`molmo-point verify`: recompute a golden folder and say whether every number holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(
    folder: Annotated[Path, typer.Argument(help="Checkpoint with golden.json and golden.npz.")],
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a case.")] = False,
) -> None:
    """Recompute every number of a golden folder; exit code 1 on any miss."""
    import torch
    from rich.table import Table

    from molmo_point.cli.tables import print_table
    from molmo_point.engine.verify import verify_folder
    from molmo_point.errors import UsageError

    if dtype not in ("float32", "bfloat16", "float16"):
        raise UsageError(f"expected --dtype float32, bfloat16 or float16, got {dtype!r}")
    table = Table(title=f"{folder.name}, {dtype} on {device}", title_justify="left")
    for title in ("case", "ids", "features", "logits", "argmax", "greedy", "allowed", "verdict"):
        table.add_column(title, overflow="fold")
    passed = True
    for report in verify_folder(folder, device=device, dtype=getattr(torch, dtype)):
        passed &= report.passed
        if as_json:
            typer.echo(json.dumps(asdict(report)))
        table.add_row(
            report.name,
            "equal" if report.ids_equal else "DIFFER",
            f"{report.feature_error:.1e}",
            f"{report.logit_error:.1e}",
            f"{report.argmax_agreement:.1%}",
            "equal" if report.greedy_equal else "differ",
            report.tolerance,
            "[green]pass" if report.passed else "[red]MISS",
        )
    if not as_json:
        print_table(table)
    raise typer.Exit(0 if passed else 1)
