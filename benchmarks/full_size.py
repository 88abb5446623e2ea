"""Time and memory of an answer at the published sizes, with random weights, on this machine's device.

    python -m benchmarks.full_size [molmo-7b-d molmoe-1b molmo-72b:int8 ...] [--device cuda|cpu] [--layers N]

On the CPU each model is loaded from files of the published layout, in bfloat16, int8 and int4 unless one is named, and measured
in a process of its own (`full_size_cpu`): memory, the image by stage, the answer plain and drafted. On CUDA it is made in place:

Answers are scripted (one point, one token for each digit); the network computes every pass. For each model: encoding an image
of 13 crops; the answer plain, drafted, and both with CUDA graphs; the share of the memory bandwidth measured in the same run;
peak memory. `--layers` reduces the depth, to try the command.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.full_size_cpu import run
from benchmarks.report import hardware, table
from benchmarks.scripted import ScriptedDecodeState
from molmo_point.checkpoints.catalog import CATALOG
from molmo_point.engine.drafting import GrammarDrafter, continuations
from molmo_point.engine.engine import Engine, EngineOptions
from molmo_point.engine.generate import Drafter, NoDraft
from molmo_point.model.molmo import Molmo
from molmo_point.model.quantize import low_bit_matrices, replace_by_low_bits
from molmo_point.preprocess.prompt import format_prompt
from molmo_point.preprocess.tokenizer import Tokenizer

TOKENIZER = Path(__file__).parents[1] / "tests" / "golden" / "models" / "tiny-d"
ANSWER = ' <point x="63.5" y="44.0" alt="mug">mug</point>'
SPREAD = 0.02
DEFAULT = ["molmo-7b-d", "molmo-7b-o", "molmoe-1b", "molmo-72b:int8"]


def build(name: str, scheme: str, device: torch.device, layers: int | None) -> Molmo:
    """Make a model of a published size with random weights; low-bit codes are made at random, full weights are never held."""
    config = next(entry.config for entry in CATALOG if entry.name == name)
    assert config is not None
    if layers is not None:
        config = replace(config, decoder=replace(config.decoder, layers=layers))
    with torch.device("meta"):
        model = Molmo(config).to(torch.bfloat16)
    if scheme:
        with torch.device("meta"):
            replace_by_low_bits(model, scheme)
    model = randomise(model.to(torch.bfloat16).to_empty(device=device))
    for matrix in low_bit_matrices(model).values():
        matrix.codes.random_(0, 127)
        matrix.scales.fill_(SPREAD / 127)
        matrix.pack()
    return model.eval()


@torch.no_grad()
def randomise(module: Molmo) -> Molmo:
    """Fill a module's parameters: matrices at random, vectors with ones."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=SPREAD)
        else:
            parameter.fill_(1.0)
    return module


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(work: object, device: torch.device, rounds: int) -> float:
    """Return the median seconds of a call, after one that is not counted."""
    times = []
    for turn in range(rounds + 1):
        settle(device)
        start = time.perf_counter()
        work()  # type: ignore[operator]
        settle(device)
        if turn:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def bandwidth(device: torch.device) -> float:
    """Return bytes a second that a sum over 2 GB (256 MB on a CPU) reads."""
    count = 1_000_000_000 if device.type == "cuda" else 128_000_000
    big = torch.ones(count, dtype=torch.bfloat16, device=device)
    return count * 2 / measured(lambda: big.sum(), device, 5)


def row(
    name: str, scheme: str, device: torch.device, layers: int | None, rounds: int
) -> list[str]:
    """Measure one model."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model = build(name, scheme, device, layers)
    blocks = [
        *model.decoder.blocks.parameters(),
        *model.decoder.blocks.buffers(),
        *model.decoder.head.parameters(),
    ]
    config = model.config.decoder
    size = sum(p.numel() * p.element_size() for p in blocks)
    if config.experts:
        experts = sum(p.numel() * p.element_size() for p in blocks if p.ndim > 2)
        size -= int(experts * (1 - config.experts_per_token / config.experts))
    tokenizer = Tokenizer(TOKENIZER)
    image = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), dtype=np.uint8)
    prompt = tokenizer.encode(format_prompt("Point to the mug."))
    script = [*tokenizer.encode(ANSWER), tokenizer.special.end]
    engines = {
        graphs: Engine(model, tokenizer, name, EngineOptions(cuda_graphs=graphs), None)
        for graphs in (False, True)
    }
    encoded, _ = engines[False].encode(image)

    def read() -> None:
        engines[False].encoder.images.clear()
        engines[False].encoder.crops.clear()
        engines[False].encode(image)

    passes: dict[str, int] = {}

    def answer(label: str, graphs: bool) -> None:
        drafter: Drafter = NoDraft()
        if label.startswith("drafted"):
            drafter = GrammarDrafter(tokenizer, "point", "mug", prompt, continuations)
        decoding = ScriptedDecodeState(prompt, script, drafter)
        passes[label] = sum(1 for _ in engines[graphs].decode(encoded, decoding))

    cells = [f"{name} {scheme or 'bfloat16'}", f"{measured(read, device, rounds) * 1e3:.1f}"]
    ways = {"plain": False, "drafted": False, "plain, graphs": True, "drafted, graphs": True}
    read_bytes = bandwidth(device)
    for label, graphs in ways.items():
        seconds = measured(lambda g=graphs, n=label: answer(n, g), device, rounds)
        cells.append(f"{seconds * 1e3:.1f} ({passes[label]})")
        if label.startswith("plain"):
            cells.append(f"{size * passes[label] / seconds / read_bytes:.0%}")
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    return [*cells, f"{peak:.1f} GB" if peak else "-"]


def main() -> None:
    """Measure each model, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--layers", type=int, help="Fewer decoder layers than the model has.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--crops", default="1,13", help="CPU: of the images, 1 or 13.")
    parser.add_argument(
        "--files", default="bfloat16", help="CPU: types of the files, with commas."
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "full_size")
    parser.add_argument(
        "--load-only", action="store_true", help="CPU: time and memory of loading."
    )
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        run(arguments.models or ["molmoe-1b", "molmo-7b-d"], arguments)
        return
    arguments.models = arguments.models or DEFAULT
    print(hardware())
    device = torch.device(arguments.device)
    rows = []
    for model in arguments.models:
        name, _, scheme = model.partition(":")
        rows.append(row(name, scheme, device, arguments.layers, arguments.rounds))
        if device.type == "cuda":
            torch.cuda.empty_cache()
    way = "ms (passes)"
    columns = ("model", "image of 13 crops, ms", f"plain, {way}", "of the bandwidth")
    columns += (
        f"drafted, {way}",
        f"plain, graphs, {way}",
        "of the bandwidth",
    )
    columns += (f"drafted, graphs, {way}", "peak memory")
    table(
        "One point, behind an image that is read; the question's prefill is one of the passes",
        columns,
        rows,
    )


if __name__ == "__main__":
    main()
