"""Options of `molmo-point finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Checkpoint = Annotated[
    str, typer.Argument(help="A name of `molmo-point models`, a hub repository or a folder.")
]
Data = Annotated[
    list[str],
    typer.Option(
        help="Labelled images: JSON Lines, or COCO annotations (.json); FILE=WEIGHT for its share of a mixture. Repeatable."
    ),
]
RunFolder = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="Run folder, created if missing; an unfinished run in it is resumed.",
    ),
]
ImageFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of a COCO file's images. Default: that of the file."),
]
HeldOutData = Annotated[
    Path | None,
    typer.Option(help="Labelled images for the evaluation. Default: a share of --data."),
]
HeldOut = Annotated[
    float, typer.Option(min=0, max=0.9, help="Share of the images that is not trained on.")
]
Method = Annotated[str, typer.Option(help="lora (low-rank adapters) or all (every parameter).")]
Parts = Annotated[str, typer.Option(help="What is trained, separated by commas.")]
Rank = Annotated[int, typer.Option(min=1, help="Rank of the adapters.")]
Alpha = Annotated[
    float | None, typer.Option(help="Scale of the adapters. Default: twice the rank.")
]
Rate = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Peak learning rate of all parts. Default: 2e-4 for lora, Molmo's own for all.",
    ),
]
Warmup = Annotated[
    int | None, typer.Option(min=0, help="Steps. Default: 200, at most a tenth of the run.")
]
WeightDecay = Annotated[float, typer.Option(min=0)]
Dropout = Annotated[
    float, typer.Option(min=0, max=0.9, help="Residual dropout; Molmo's own training: 0.1.")
]
Epochs = Annotated[float, typer.Option(min=0.01, help="How often each image is seen.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Optimizer steps, instead of --epochs.")]
Batch = Annotated[int, typer.Option(min=1, help="Images of a step.")]
MicroBatch = Annotated[
    int, typer.Option(min=1, help="Images of a forward pass; gradients of a step add up.")
]
Questions = Annotated[
    int, typer.Option(min=1, help="At most this many questions packed behind an image.")
]
Absent = Annotated[
    int,
    typer.Option(
        min=0,
        help="Also ask this many questions an image for what only others show. Only where the labels are complete.",
    ),
]
Plain = Annotated[
    float, typer.Option(min=0, max=1, help="Share of questions in the commands' own wording.")
]
Captions = Annotated[
    str, typer.Option(help="Prompt of captions: chat, or length (Molmo's first stage).")
]
Precision = Annotated[str, typer.Option(help="bfloat16 or float32.")]
Weights = Annotated[
    str,
    typer.Option(help="Type of frozen weights (lora): float32, or bfloat16 at half the memory."),
]
Checkpointing = Annotated[
    bool,
    typer.Option("--checkpointing", help="Compute activations twice instead of keeping them."),
]
EvaluateEvery = Annotated[
    int | None, typer.Option(min=1, help="Steps. Default: five times in a run.")
]
Seed = Annotated[int, typer.Option(min=0)]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that read and cut images.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the training process.")]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out entries that cannot be used; counts them."),
]
Tensorboard = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Also write losses, rates and evaluations for TensorBoard, into the run's folder.",
    ),
]
StopAfter = Annotated[int | None, typer.Option(min=1, help="Save and stop after this many steps.")]
PartRate = Annotated[float | None, typer.Option(min=0, help="Instead of --rate.")]
