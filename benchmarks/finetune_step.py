"""Memory and time of one fine-tuning step at a published size, with random weights: neither depends on their values.

    python -m benchmarks.finetune_step molmoe-1b --rank 8 --steps 1

Frozen weights in bfloat16, LoRA on every part, one 336x336 image with two questions, gradient checkpointing.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from benchmarks.full_size import SPREAD, TOKENIZER
from molmo_point.checkpoints.catalog import find
from molmo_point.datasets import LabelledItem
from molmo_point.model.lora import PARTS, add_adapters
from molmo_point.model.molmo import Molmo
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.train.answered_question import QuestionWriter
from molmo_point.train.finetune_network import make_optimizer
from molmo_point.train.finetune_recipe import FinetuneRecipe
from molmo_point.train.packed_batches import CroppedImage, PackedBatch, crop, pack
from molmo_point.train.token_loss import AnswerLoss


@torch.no_grad()
def build(name: str, layers: int | None, device: torch.device) -> Molmo:
    """Make a model of a published size in bfloat16; its values repeat one random block, which takes seconds."""
    entry = find(name)
    if entry is None or entry.config is None:
        raise SystemExit(f"{name} is no published model of known size")
    config = entry.config
    if layers is not None:
        config = replace(config, decoder=replace(config.decoder, layers=layers))
    with torch.device("meta"):
        model = Molmo(config).to(torch.bfloat16)
    model = model.to_empty(device=device)
    block = torch.empty(1 << 22, dtype=torch.bfloat16, device=device).normal_(std=SPREAD)
    for parameter in model.parameters():
        flat = parameter.view(-1)
        if parameter.ndim < 2:
            flat.fill_(1.0)
            continue
        for at in range(0, len(flat), len(block)):
            part = flat[at : at + len(block)]
            part.copy_(block[: len(part)])
    return model.train()


def one_image(crops: CroppedImage, tokenizer: Tokenizer, recipe: FinetuneRecipe) -> PackedBatch:
    """Return an image with two questions."""
    writer, rng = QuestionWriter(tokenizer, recipe), np.random.default_rng(0)
    items = (
        LabelledItem(b"", "mugs", ((0.2, 0.4), (0.6, 0.7))),
        LabelledItem(b"", "boats", (), "count"),
    )
    return pack([(crops, [writer.write(item, rng, plain=True) for item in items])])


def main() -> None:
    """Run the steps and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="molmoe-1b")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--layers", type=int, help="Fewer decoder layers than the model has.")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device = torch.device(given.device)
    recipe = FinetuneRecipe(base=given.model, rank=given.rank, weights="bfloat16")
    started = time.perf_counter()
    model = build(given.model, given.layers, device)
    adapted = add_adapters(model, PARTS, recipe.rank, recipe.alpha)
    optimizer = make_optimizer(model, recipe, 100)
    trained = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    print(
        f"{given.model}: {weights / 1e9:.1f} GB, {adapted} adapted layers, {trained / 1e6:.0f} million trained parameters, "
        f"made in {time.perf_counter() - started:.0f} s"
    )
    tokenizer = Tokenizer(TOKENIZER)
    image = np.random.default_rng(0).integers(0, 255, (336, 336, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    crops = crop(file.getvalue(), model.config.preprocess, tokenizer)
    batch = one_image(crops, tokenizer, recipe).to(device)
    network = AnswerLoss(model, checkpointing=True)
    for step in range(given.steps):
        start, cpu = time.perf_counter(), time.process_time()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            loss = network(batch)[0] / batch.weights.sum()
        forward = time.perf_counter() - start
        loss.backward()
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
        optimizer.step()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(
            f"step {step + 1}: {batch.inputs.ids.shape[1]} tokens, loss {loss.item():.3f}, forward {forward:.1f} s, step "
            f"{time.perf_counter() - start:.1f} s, {time.process_time() - cpu:.1f} CPU-s, peak memory {peak / 1e9:.1f} GB"
        )


if __name__ == "__main__":
    main()
