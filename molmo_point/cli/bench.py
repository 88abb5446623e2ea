"""`molmo-point bench`: compare a model with its low-bit or half-precision version, by its answers and by its logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from molmo_point.image_like import ImageLike


Model = Annotated[str, typer.Option("--model", "-m", help="Name or folder.")]
Quantize = Annotated[str, typer.Option(help="Of the version compared with: int8, int4 or none.")]
Device = Annotated[str, typer.Option(help="Of both.")]
Images = Annotated[int, typer.Option("--pictures", min=1, help="Held-out scenes to ask about.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    bench = typer.Typer(help="Measure a model on this machine.", no_args_is_help=True)
    bench.callback()(_bench)
    bench.command("compare")(compare)
    bench.command("drift")(drift)
    app.add_typer(bench, name="bench")


def _bench() -> None:
    """Measure a model on this machine."""


def compare(
    model: Model = "nano",
    quantize: Quantize = "int8",
    dtype: Annotated[
        str, typer.Option(help="Of the version compared with: auto, bfloat16, ...")
    ] = "auto",
    device: Device = "auto",
    images: Images = 50,
    as_json: AsJson = False,
) -> None:
    """Compare a model with its low-bit or half-precision version, answer by answer, on the same held-out scenes."""
    import json
    from dataclasses import asdict

    from rich.table import Table

    from molmo_point import api
    from molmo_point.cli.tables import print_table
    from molmo_point.evaluate.compare_models import compare_models

    first = api.load(model, device=device)
    low = None if quantize == "none" else quantize
    second = api.load(model, device=device, dtype=dtype, quantize=low)
    result = compare_models(first, second, _questions(images))
    if as_json:
        typer.echo(json.dumps(asdict(result)))
        return
    version = " ".join(word for word in (low, dtype if dtype != "auto" else None) if word)
    table = Table(title=f"{model} against {version or 'itself'}", title_justify="left")
    table.add_column("measure")
    table.add_column("value", justify="right")
    share = result.same_points / result.questions
    table.add_row("questions", str(result.questions))
    table.add_row("exactly the same points", f"{result.same_points} ({share:.1%})")
    table.add_row("the same number of points", str(result.same_count))
    table.add_row("median distance", f"{result.median_percent:.2f} % of the diagonal")
    table.add_row("99th percentile", f"{result.p99_percent:.2f} %")
    table.add_row("largest", f"{result.largest_percent:.2f} %")
    sizes = [_weight_bytes(pointer) for pointer in (first, second)]
    table.add_row("weights", " against ".join(f"{size / 1e6:.1f} MB" for size in sizes))
    table.add_row("time", " against ".join(f"{seconds:.1f} s" for seconds in result.seconds))
    print_table(table)


def drift(
    model: Model = "nano",
    quantize: Quantize = "int8",
    dtype: Annotated[
        str, typer.Option(help="Of both, unless --quantize none: then of the second.")
    ] = "auto",
    device: Device = "auto",
    images: Images = 20,
    tokens: Annotated[int, typer.Option(min=1, help="Of each answer, at most.")] = 32,
    as_json: AsJson = False,
) -> None:
    """Compare the logits of a model and its low-bit version behind the same tokens, and their points.

    The first version answers, both read its answers token by token: how often they choose the same token, and how far apart
    their logits are.
    """
    import json
    from dataclasses import asdict

    from molmo_point import api
    from molmo_point.engine.local import LocalPointer
    from molmo_point.evaluate.compare_models import compare_models
    from molmo_point.evaluate.drift import logit_drift

    low = None if quantize == "none" else quantize
    kind = "auto" if low is None else dtype
    first = api.load(model, device=device, dtype=kind, max_new_tokens=tokens)
    second = api.load(model, device=device, dtype=dtype, quantize=low, max_new_tokens=tokens)
    assert isinstance(first, LocalPointer)
    assert isinstance(second, LocalPointer)
    questions = list(_questions(images))
    logits = logit_drift(first.engine, second.engine, questions, tokens=tokens)
    points = compare_models(first, second, questions)
    if as_json:
        typer.echo(json.dumps({"logits": asdict(logits), "points": asdict(points)}))
        return
    share = logits.same_tokens / logits.tokens
    typer.echo(
        f"{model} against {quantize}, {dtype}: the same token at {logits.same_tokens} of {logits.tokens} positions "
        f"({share:.1%}); largest difference of a position's logits: median {logits.median_difference:.3g}, 99th percentile "
        f"{logits.p99_difference:.3g}, largest {logits.largest_difference:.3g}, at a standard deviation of {logits.spread:.3g}"
    )
    typer.echo(
        f"points: {points.same_points} of {points.questions} answers exactly the same; distance in % of the diagonal: median "
        f"{points.median_percent:.2f}, 99th percentile {points.p99_percent:.2f}, largest {points.largest_percent:.2f}"
    )


def _weight_bytes(pointer: object) -> int:
    """Return the bytes of a local pointer's weights; of packed ones, those of their parts."""
    from molmo_point.engine.local import LocalPointer

    assert isinstance(pointer, LocalPointer)
    total = 0
    for parameter in pointer.network.parameters():
        inner = getattr(parameter, "tensor_data_names", None) or ()
        packed = [
            getattr(parameter, name) for name in inner if getattr(parameter, name) is not None
        ]
        total += sum(part.numel() * part.element_size() for part in packed or [parameter])
    return total


def _questions(images: int) -> Iterator[tuple[ImageLike, str]]:
    """Yield what is asked about held-out scenes: (image, query)."""
    from molmo_point.synthetic.held_out import scene_examples
    from molmo_point.train.recipe import find_recipe

    style = find_recipe("nano").stages[-1].scenes[-1].style
    for example in scene_examples(0, images, 2, style):
        if example.mode == "point":
            yield example.image, example.query
