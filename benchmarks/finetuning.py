"""nano fine-tuned on 200 images of a kind that it has never seen: accuracy on new images, what it forgets, and the cost.

    python -m benchmarks.finetuning --out runs/finetuning [--methods lora,all] [--epochs 10] [--rehearsal 200]

Prints one row of a table for each method. With --rehearsal so many images of what nano knows are mixed in, half of what it trains
on, so that it does not forget that. An interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

import molmo_point
from benchmarks.new_kind import write_labels, write_rehearsal
from molmo_point.cli.finetune import score_on
from molmo_point.datasets import read_labelled, split_by_image
from molmo_point.datasets.regions import labelled_examples
from molmo_point.evaluate.report import Score
from molmo_point.evaluate.run import evaluate
from molmo_point.pointer import Pointer
from molmo_point.synthetic.held_out import world_examples
from molmo_point.synthetic.scenes.scene import Style
from molmo_point.train.finetune import finetune
from molmo_point.train.finetune_data import FinetuneData
from molmo_point.train.finetune_recipe import FinetuneRecipe
from molmo_point.train.progress import Progress

RATES: dict[str, dict[str, float]] = {
    "lora": {"vision": 3e-3, "connector": 3e-3, "decoder": 3e-3},
    "all": {"vision": 2e-4, "connector": 3e-4, "decoder": 6e-4},
}


def old_score(pointer: Pointer, images: int) -> Score:
    """Score a model on held-out images of what nano knows: the test set "things"."""
    examples = world_examples("things", 0, images, 4, Style())
    return evaluate(pointer, examples).overall


def new_score(pointer: Pointer, labels: Path) -> Score:
    """Score a model on unseen images of the new kind."""
    return evaluate(pointer, labelled_examples(read_labelled(labels).items)).overall


def row(name: str, pointer: Pointer, labels: Path, images: int, cost: str) -> str:
    """Return a row of the table."""
    new, old = new_score(pointer, labels), old_score(pointer, images)
    return (
        f"| {name} | {new.f1 or 0:.3f} [{new.f1_low:.3f}, {new.f1_high:.3f}] | {new.absent} | "
        f"{old.f1 or 0:.3f} [{old.f1_low:.3f}, {old.f1_high:.3f}] | {cost} |"
    )


def tune(
    method: str, labels: Path, rehearsal: Path | None, out: Path, epochs: float
) -> tuple[Path, str]:
    """Fine-tune nano; return the best adapter or checkpoint, and the cost."""
    training, held = split_by_image(read_labelled(labels).items, 0.1)
    recipe = FinetuneRecipe.model_validate(
        {
            "base": "nano",
            "method": method,
            "rates": RATES[method],
            "epochs": epochs,
            "micro_batch": 8,
            "save_every_s": 30,
        }
    )
    asked = [item for item in held if item.query.startswith("spinner")]
    mixture = [(training, 1.0)]
    if rehearsal is not None:
        mixture.append((list(read_labelled(rehearsal).items), 1.0))
    data = FinetuneData(mixture, held, score_on(asked))
    best = finetune(recipe, data, out, workers=0, progress=Progress(sys.stderr))
    last: dict[str, Any] = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    return best, f"{last['cpu_s']:.0f} CPU-s"


def main() -> None:
    """Make the images, fine-tune by each method, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="lora,all")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--old-images", type=int, default=100)
    parser.add_argument("--rehearsal", type=int, default=0, help="Images of what nano knows.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    labels = write_labels(given.out / "training", 200, held_out=False)
    rehearsal = None
    if given.rehearsal:
        rehearsal = write_rehearsal(given.out / "rehearsal", given.rehearsal)
    unseen = write_labels(given.out / "unseen", 100, held_out=True)
    print("| | new kind, F1 | new kind, absent right | old kinds, F1 | cost |")
    print("|---|---|---|---|---|", flush=True)
    started = time.process_time()
    with molmo_point.load("nano", device="cpu") as pointer:
        print(row("nano", pointer, unseen, given.old_images, "-"), flush=True)
    for method in given.methods.split(","):
        best, cost = tune(method, labels, rehearsal, given.out / method, given.epochs)
        adapted = {"adapter": best} if method == "lora" else {}
        name: Any = "nano" if method == "lora" else best
        with molmo_point.load(name, device="cpu", **adapted) as pointer:
            print(row(f"`{method}`", pointer, unseen, given.old_images, cost), flush=True)
    sys.stderr.write(f"{time.process_time() - started:.0f} CPU-s in all\n")


if __name__ == "__main__":
    main()
