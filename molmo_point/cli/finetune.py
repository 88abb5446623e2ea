"""`molmo-point finetune`: fine-tune a checkpoint on labelled images, or resume an interrupted run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from molmo_point.cli import finetune_options as options
from molmo_point.cli.exit_codes import FAILED
from molmo_point.cli.signals import INTERRUPTED, catch_signals
from molmo_point.cli.threads import one_blas_thread
from molmo_point.errors import UsageError
from molmo_point.wording import counted

if TYPE_CHECKING:
    from molmo_point.datasets import LabelledItem
    from molmo_point.train.finetune_data import FinetuneData
    from molmo_point.train.finetune_recipe import FinetuneRecipe

SCORED = 200
"""Held-out questions that are answered in an evaluation; all of them count for the loss."""


LONGEST = 192
"""Tokens of an answer during training, as in the reference's evaluation: at first a network may not end its answers."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("finetune")(finetune_command)


def finetune_command(
    checkpoint: options.Checkpoint,
    data: options.Data,
    out: options.RunFolder,
    images: options.ImageFolder = None,
    held_out_data: options.HeldOutData = None,
    held_out: options.HeldOut = 0.1,
    method: options.Method = "lora",
    parts: options.Parts = "vision,connector,decoder",
    rank: options.Rank = 16,
    alpha: options.Alpha = None,
    rate: options.Rate = None,
    vision_rate: options.PartRate = None,
    connector_rate: options.PartRate = None,
    decoder_rate: options.PartRate = None,
    warmup: options.Warmup = None,
    weight_decay: options.WeightDecay = 0.0,
    dropout: options.Dropout = 0.0,
    epochs: options.Epochs = 3.0,
    steps: options.Steps = None,
    batch: options.Batch = 8,
    micro_batch: options.MicroBatch = 1,
    questions: options.Questions = 8,
    absent: options.Absent = 0,
    plain: options.Plain = 0.5,
    captions: options.Captions = "chat",
    precision: options.Precision = "bfloat16",
    weights: options.Weights = "float32",
    checkpointing: options.Checkpointing = False,
    evaluate_every: options.EvaluateEvery = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    workers: options.Workers = 1,
    threads: options.Threads = 1,
    skip_bad: options.SkipBad = False,
    stop_after: options.StopAfter = None,
    tensorboard: options.Tensorboard = False,
) -> None:
    """Fine-tune a checkpoint on labelled images; print the folder of the best adapter or checkpoint.

    Ctrl+C and SIGTERM save the state after the current step and stop; the same command resumes. On several GPUs start it with
    `torchrun --nproc_per_node N -m molmo_point finetune ...`. Exit codes: 0 trained to the end, 1 stopped by --stop-after, 130
    stopped by a signal, 2 a mistake on the command line or in a file.

    \b
    molmo-point finetune nano --data labels.jsonl --out runs/screws --rate 2e-3 --epochs 10
    molmo-point merge nano runs/screws/best screws
    """
    given = dict(locals())
    one_blas_thread()
    from molmo_point.train.finetune_recipe import FinetuneRecipe

    # Options that carry the name of a field of the recipe are that field.
    settings = {
        name: value for name, value in given.items() if name in FinetuneRecipe.model_fields
    }
    own = {"vision": vision_rate, "connector": connector_rate, "decoder": decoder_rate}
    rates = {part: rate if value is None else value for part, value in own.items()}
    settings |= {
        "base": checkpoint,
        "parts": [part.strip() for part in parts.split(",") if part.strip()],
        "alpha": 2.0 * rank if alpha is None else alpha,
        "rates": {part: value for part, value in rates.items() if value is not None},
    }
    recipe = _recipe(FinetuneRecipe, settings)
    made = _data(data, images, held_out_data, held_out, skip_bad)
    _run(recipe, made, out, (device, workers, threads), stop_after, tensorboard)


def _recipe(kind: type[FinetuneRecipe], settings: dict[str, Any]) -> FinetuneRecipe:
    from pydantic import ValidationError

    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"])).replace("_", "-")
        raise UsageError(f"--{name}: {first['msg']}" if name else str(first["msg"])) from error


def _data(
    paths: Sequence[str],
    images: Path | None,
    held_out_data: Path | None,
    share: float,
    skip_bad: bool,
) -> FinetuneData:
    """Read the data, and split off what is held out."""
    from molmo_point.datasets import read_labelled, split_by_image
    from molmo_point.train.finetune_data import FinetuneData

    training: list[tuple[list[LabelledItem], float | None]] = []
    held: list[LabelledItem] = []
    for given in paths:
        path, weight = _weighted(given)
        read = read_labelled(path, images=images, skip_bad=skip_bad).to_learn_from(path)
        _tell_skipped(path, len(read.skipped))
        kept, others = split_by_image(read.items, 0.0 if held_out_data else share)
        training.append((kept, weight))
        held += others
    if held_out_data is not None:
        read = read_labelled(held_out_data, images=images, skip_bad=skip_bad)
        _tell_skipped(held_out_data, len(read.skipped))
        held = list(read.items)
    shown = sum(len(kept) for kept, _ in training)
    trained = len({item.image for kept, _ in training for item in kept})
    sys.stderr.write(
        f"{counted(shown, 'question')} about {counted(trained, 'image')}, held out: {counted(len(held), 'question')} about "
        f"{counted(len({item.image for item in held}), 'image')}\n"
    )
    return FinetuneData(_mixture(training), held, score_on(held))


def _mixture(
    training: Sequence[tuple[list[LabelledItem], float | None]],
) -> list[tuple[list[LabelledItem], float]]:
    """Return sets with weights; sets without any weight are one set, of which every image is seen in each epoch."""
    if all(weight is None for _, weight in training):
        return [([item for items, _ in training for item in items], 1.0)]
    return [
        (items, float(len({item.image for item in items})) if weight is None else weight)
        for items, weight in training
    ]


def _weighted(given: str) -> tuple[Path, float | None]:
    """Split FILE=WEIGHT."""
    name, equals, number = given.rpartition("=")
    if not equals or Path(given).exists():
        return Path(given), None
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise UsageError(f"--data {given}: expected FILE or FILE=WEIGHT with a weight above 0")
    return Path(name), weight


def _tell_skipped(path: Path, skipped: int) -> None:
    if skipped:
        sys.stderr.write(f"{path}: {counted(skipped, 'entry', 'entries')} left out\n")


def score_on(held: Sequence[LabelledItem]) -> Callable[[Any, Path], float] | None:
    """Return the function that asks a network held-out questions and returns F1; None where no answer is points."""
    from molmo_point.datasets.regions import labelled_examples

    asked = [item for item in held if item.mode != "text"][:SCORED]
    if not any(item.points for item in asked):
        return None

    def score(model: Any, folder: Path) -> float:
        from molmo_point.engine.engine import Engine, EngineOptions
        from molmo_point.engine.local import LocalPointer
        from molmo_point.evaluate.run import evaluate
        from molmo_point.preprocess.tokenizer import Tokenizer

        limits = EngineOptions(max_new_tokens=LONGEST)
        engine = Engine(model, Tokenizer(folder), "fine-tuned", limits, None)
        with LocalPointer(engine) as pointer:
            return evaluate(pointer, labelled_examples(asked)).overall.f1 or 0.0

    return score


def _run(
    recipe: FinetuneRecipe,
    data: FinetuneData,
    out: Path,
    machine: tuple[str, int, int],
    stop_after: int | None,
    tensorboard: bool,
) -> None:
    import torch

    from molmo_point.train.finetune import finetune
    from molmo_point.train.progress import Progress
    from molmo_point.train.sharding import join_processes
    from molmo_point.train.state import read_position

    device, workers, threads = machine
    torch.set_num_threads(threads)
    processes = join_processes(device)
    with catch_signals() as stop:
        best = finetune(
            recipe,
            data,
            out,
            device=device,
            workers=workers,
            progress=Progress(sys.stderr),
            stop_after=stop_after,
            stop=stop,
            processes=processes,
            tensorboard=tensorboard,
        )
        interrupted = stop()
    position = read_position(out)
    finished = position is not None and position.stage > 0
    if processes.is_first and best.exists():
        typer.echo(str(best))
    if not finished:
        sys.stderr.write(f"stopped, the state is saved in {out}; the same command resumes\n")
        raise typer.Exit(INTERRUPTED if interrupted else FAILED)
