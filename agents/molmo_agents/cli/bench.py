"""`molmo-web bench`: the commands that measure."""

from __future__ import annotations

from typing import Annotated

import typer

from molmo_agents.cli.options import AsJson

app = typer.Typer(help="Measure on public benchmarks.", no_args_is_help=True)


@app.command("miniwob")
def miniwob(
    tier: Annotated[str, typer.Option(help="A, B, C, or several with commas.")] = "A",
    seeds: Annotated[int, typer.Option(help="Episodes per task; 5 is quick, 20 says more.")] = 5,
    model: Annotated[
        str, typer.Option(help="A model or server as elsewhere, or dom: reads the page instead.")
    ] = "nano",
    noise_px: Annotated[
        float, typer.Option(help="With dom: largest error of an answer, CSS px.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Play MiniWoB++ tasks (pip install --no-deps miniwob) and count."""
    from molmo_agents.bench.miniwob.command import bench

    bench(tier.split(","), seeds, model, noise_px, as_json)


@app.command("mockups")
def mockups(
    seeds: Annotated[
        int, typer.Option(help="Pages; on each, one thing is there and one is not.")
    ] = 20,
    model: Annotated[
        str, typer.Option(help="A model or server as elsewhere, or dom: reads the page instead.")
    ] = "nano",
    as_json: AsJson = False,
) -> None:
    """Press what is asked for on made-up pages that no model was trained on, and count."""
    from molmo_agents.bench.mockup_bench import bench as bench_mockups

    bench_mockups(seeds, model, as_json)
